"""From a specification to clone flags and joins."""

from typing import Any

import pytest

from corten.kernel import process as p
from corten.runtime import mountplan
from corten.runtime.plan import InvalidSpec, plan

ROOT = (mountplan.parse({"destination": "/", "source": "/r", "options": ["rbind"]}),)


def spec(*namespaces: Any, **linux: Any) -> dict[str, Any]:
    return {"process": {}, "linux": {"namespaces": list(namespaces), **linux}}


def test_new_namespaces_are_flags_and_paths_are_joins_with_the_user_namespace_first() -> None:
    found = plan(spec({"type": "mount"}, {"type": "network", "path": "/n"}, {"type": "user", "path": "/u"}), ROOT)
    assert found.clone_flags == p.CLONE_NEWNS
    assert found.joins == (("user", "/u"), ("network", "/n"))
    assert found.userns and found.id_map is None


def test_the_cgroup_namespace_waits_for_the_cgroup() -> None:
    found = plan(spec({"type": "mount"}, {"type": "cgroup"}), ROOT)
    assert found.new_cgroup_namespace
    assert not found.clone_flags & p.CLONE_NEWCGROUP


def test_a_new_user_namespace_brings_its_map() -> None:
    mapping = [{"containerID": 0, "hostID": 1000, "size": 10}]
    found = plan(spec({"type": "user"}, uidMappings=mapping, gidMappings=mapping), ROOT)
    assert found.id_map is not None and found.id_map.uids == "0 1000 10\n"
    with pytest.raises(InvalidSpec, match="uidMappings"):
        plan(spec({"type": "user"}), ROOT)


@pytest.mark.parametrize("namespaces", [({"type": "pid"}, {"type": "pid"}), ({"type": "nope"},)])
def test_contradictions_are_refused(namespaces: tuple[dict[str, str], ...]) -> None:
    with pytest.raises(InvalidSpec):
        plan(spec(*namespaces), ROOT)


def test_a_relative_mount_destination_is_refused() -> None:
    document = {**spec(), "mounts": [{"destination": "proc", "type": "proc", "source": "proc"}]}
    with pytest.raises(InvalidSpec, match="not absolute"):
        plan(document, ROOT)


def test_the_plan_describes_itself() -> None:
    text = "\n".join(plan(spec({"type": "mount"}, {"type": "ipc", "path": "/i"}), ROOT).describe())
    assert "mount" in text and "join ipc namespace /i" in text and "bind /r on /" in text


@pytest.mark.parametrize(
    ("mounts", "devices", "own"),
    [
        ([("/dev", "tmpfs", [])], [], True),
        ([("/dev", "tmpfs", ["nosuid"]), ("/dev/pts", "devpts", [])], [("/dev/null", 3), ("/dev/zero", 5)], True),
        ([], [], False),
        ([("/dev/", "tmpfs", ["nodev"])], [], False),
        ([("/dev", "tmpfs", ["tmpcopyup"])], [], False),
        ([("/dev", "", ["bind"])], [], False),
        ([("/dev", "tmpfs", []), ("/dev", "", ["bind"])], [], False),
        ([("/dev", "tmpfs", []), ("/dev/./null", "", ["bind"])], [], False),
        ([("/dev", "tmpfs", [])], [("/dev/null", 5)], False),
    ],
)
def test_whether_its_null_device_is_of_our_making(
    mounts: list[tuple[str, str, list[str]]], devices: list[tuple[str, int]], own: bool
) -> None:
    """Otherwise something else may be in its place, and a stand-in is kept ready."""
    asked = {
        "mounts": [{"destination": where, "type": kind, "options": options} for where, kind, options in mounts],
        "linux": {"devices": [{"path": path, "type": "c", "major": 1, "minor": minor} for path, minor in devices]},
    }
    assert plan(asked, ()).own_null is own
