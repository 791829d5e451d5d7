"""What of a container moves into a guest, what the host does, and what is refused: each with its sentence."""

from __future__ import annotations

from typing import Any

import pytest

from corten.errors import Unsupported
from corten.oci.template import template
from corten.vm import planning
from corten.vm.planning import File, cpus_of, memory_of, plan

Json = dict[str, Any]
MIB = 1 << 20


def test_what_every_container_has_moves_in() -> None:
    spec = template()
    planned = plan(spec).spec
    assert planned["mounts"] == spec["mounts"]
    assert planned["process"] == spec["process"]
    for key in ("maskedPaths", "readonlyPaths", "resources"):
        assert planned["linux"][key] == spec["linux"][key]


def test_its_network_is_the_guests() -> None:
    kinds = [namespace["type"] for namespace in plan(template()).spec["linux"]["namespaces"]]
    assert kinds == ["pid", "ipc", "uts", "mount", "cgroup"]
    spec = template()
    spec["linux"]["namespaces"][1] = {"type": "network", "path": "/proc/7/fd/9"}  # as an engine makes it
    assert kinds == [namespace["type"] for namespace in plan(spec).spec["linux"]["namespaces"]]


def test_files_of_the_engine_are_sent() -> None:
    spec = template()
    spec["mounts"] += [
        {"destination": "/etc/hosts", "type": "bind", "source": "/data/containers/1/hosts", "options": ["rbind"]},
        {"destination": "/sbin/docker-init", "type": "bind", "source": "/data/docker-init", "options": ["bind", "ro"]},
    ]
    planned = plan(spec)
    assert planned.files == (
        File("/data/containers/1/hosts", "/run/corten/files/0", True),
        File("/data/docker-init", "/run/corten/files/1", False),
    )
    assert planned.spec["mounts"][-1] == {
        "destination": "/sbin/docker-init",
        "type": "bind",
        "source": "/run/corten/files/1",
        "options": ["bind", "ro"],
    }


def test_a_profile_of_the_hosts_kernel_stays() -> None:
    spec = template()
    spec["process"]["apparmorProfile"] = "docker-default"
    assert "apparmorProfile" not in plan(spec).spec["process"]


def test_the_machine_has_the_share_of_processors() -> None:
    spec = template()
    spec["linux"]["resources"] |= {"cpu": {"quota": 150_000, "period": 100_000}, "memory": {"limit": 64 * MIB}}
    assert plan(spec).host == {"cpu": {"quota": 150_000, "period": 100_000}}
    assert plan(spec).spec["linux"]["resources"]["memory"] == {"limit": 64 * MIB}


SHARED = [
    ({"type": "bind", "source": "/srv", "options": ["rbind", "rprivate"]}, ["rbind", "rprivate"]),
    ({"type": "none", "source": "/srv", "options": ["bind", "rro", "rslave"]}, ["bind", "rro", "rprivate"]),
    ({"type": "bind", "source": "/proc/7/root/v", "options": ["bind", "x-corten.mount=9"]}, ["bind", "rprivate"]),
    ({"type": "nfs", "source": "server:/x", "options": ["x-corten.host", "ro", "vers=4"]}, ["rbind", "rprivate", "ro"]),
    ({"type": "overlay", "source": "overlay", "options": ["x-corten.tree", "lowerdir=/a"]}, ["rbind", "rprivate"]),
]


@pytest.mark.parametrize(("mount", "words"), SHARED, ids=["bind", "slave", "of a container", "volume", "image"])
def test_what_the_host_mounts_is_shared(mount: Json, words: list[str]) -> None:
    """By its number; what is asked of the file system is the host's affair."""
    spec = mounted(type="bind", source="/first", options=["rbind"])
    asked = {"destination": "/etc/other", **mount}
    spec["mounts"].append(asked)
    planned = plan(spec)
    assert planned.shares[1] == asked and planned.files == ()
    assert planned.spec["mounts"][-1] == {
        "destination": "/etc/other",
        "type": "bind",
        "source": "/run/corten/shares/1",
        "options": words,
    }


def without(kind: str) -> Json:
    spec = template()
    spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != kind]
    return spec


def joined(kind: str) -> Json:
    spec = without(kind)
    spec["linux"]["namespaces"].append({"type": kind, "path": f"/proc/7/ns/{kind}"})
    return spec


def mounted(**mount: Any) -> Json:
    spec = template()
    spec["mounts"].append({"destination": "/data", **mount})
    return spec


def linux(**values: Any) -> Json:
    spec = template()
    spec["linux"] |= values
    return spec


REFUSED = {
    "network host": (without("network"), "network namespace of the host"),
    "pid host": (without("pid"), "pid namespace of the host"),
    "ipc host": (without("ipc"), "ipc namespace of the host"),
    "uts host": (without("uts"), "uts namespace of the host"),
    "cgroupns host": (without("cgroup"), "cgroup namespace of the host"),
    "pid of a container": (joined("pid"), "pid namespace of another container"),
    "ipc of a container": (joined("ipc"), "ipc namespace of another container"),
    "a user namespace": (joined("user"), "user namespaces are not made in it"),
    "mapped ids": (linux(uidMappings=[{"containerID": 0, "hostID": 1, "size": 1}]), "user namespaces are not made"),
    "a shared bind": (mounted(type="bind", source="/srv", options=["rbind", "rshared"]), "propagation of /data can"),
    "another file system": (mounted(type="nfs", source="server:/x", options=[]), "cannot mount nfs of the host: /data"),
    "a device": (linux(devices=[{"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}]), "device /dev/sda is not"),
    "hooks": ({**template(), "hooks": {"prestart": [{"path": "/bin/true"}]}}, "hooks are programs of the host"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    spec, words = REFUSED[name]
    with pytest.raises(Unsupported, match=words):
        plan(spec)
    (sentence,) = planning.refusals(spec)
    assert "\n" not in sentence


def test_devices_of_every_kernel() -> None:
    fuse = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}
    assert plan(linux(devices=[fuse])).spec["linux"]["devices"] == [fuse]


def test_sizes() -> None:
    assert memory_of(64 * MIB) == 128 * MIB
    assert memory_of(64 * MIB + 1) == 130 * MIB
    assert cpus_of({}) == 0 and cpus_of({"cpu": {"quota": -1}}) == 0
    assert [cpus_of({"cpu": {"quota": q, "period": 100_000}}) for q in (1, 100_000, 150_000, 400_000)] == [1, 1, 2, 4]
