"""Mount namespaces of bundles: of their own, none, or one that others are in."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci_bundle import Runtime


def mount_namespace(runtime: Runtime, path: str | None) -> None:
    spec = json.loads((runtime.bundle / "config.json").read_text())
    kinds = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != "mount"]
    runtime.change(linux={"namespaces": kinds if path is None else [*kinds, {"type": "mount", "path": path}]})


def mounts_in(pid: int | str, runtime: Runtime) -> list[str]:
    return [line for line in Path(f"/proc/{pid}/mounts").read_text().splitlines() if str(runtime.root) in line]


@pytest.fixture
def other() -> Iterator[int]:
    """A process in a mount namespace of its own."""
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process.pid
    process.kill()
    process.wait()
    process.stdout.close()


LOOK = "for f in /*; do echo -n $f' '; done; echo; busybox readlink /proc/self/ns/mnt"


def life(runtime: Runtime, pid: int | str) -> None:
    """One container in the mount namespace of `pid`."""
    runtime.configure("sh", "-c", LOOK)
    done = runtime("run", "-b", str(runtime.bundle), "box")
    own, namespace = done.stdout.splitlines()
    assert own.split() == ["/bin", "/dev", "/proc", "/sys"]
    assert namespace == os.readlink(f"/proc/{pid}/ns/mnt")
    assert mounts_in(pid, runtime) == []
    runtime.configure("sleep", "1000")
    assert runtime("run", "-d", "-b", str(runtime.bundle), "box").returncode == 0
    assert runtime("exec", "box", "sh", "-c", LOOK).stdout == done.stdout
    assert len(mounts_in(pid, runtime)) > 5
    assert os.path.isdir(f"/proc/{pid}/root/proc/1")  # its own root is what it was
    assert runtime("delete", "--force", "box").returncode == 0
    assert mounts_in(pid, runtime) == []


def test_without_a_mount_namespace(runtime: Runtime) -> None:
    mount_namespace(runtime, None)
    life(runtime, "self")


def test_in_the_mount_namespace_of_others(runtime: Runtime, other: int) -> None:
    mount_namespace(runtime, f"/proc/{other}/ns/mnt")
    life(runtime, other)
    assert mounts_in("self", runtime) == []


@pytest.mark.parametrize("joined", [False, True])
def test_a_create_that_fails_leaves_no_mount(runtime: Runtime, other: int, joined: bool) -> None:
    mount_namespace(runtime, f"/proc/{other}/ns/mnt" if joined else None)
    runtime.configure("nosuch")
    done = runtime("create", "-b", str(runtime.bundle), "box")
    assert done.returncode == 1 and "executable file not found" in done.stdout
    assert mounts_in(other, runtime) == [] == mounts_in("self", runtime)


def test_a_namespace_that_has_gone_is_no_obstacle(runtime: Runtime, other: int) -> None:
    mount_namespace(runtime, f"/proc/{other}/ns/mnt")
    runtime.configure("sleep", "1000")
    assert runtime("run", "-d", "-b", str(runtime.bundle), "box").returncode == 0
    path = runtime.root / "state/box/state.json"
    state = json.loads(path.read_text())
    state["root_mount"]["namespace"] = "/proc/4194305/ns/mnt"  # more than there can be
    path.write_text(json.dumps(state))
    assert runtime("delete", "--force", "box").returncode == 0


def test_mounts_are_listed_in_the_order_of_the_specification(runtime: Runtime) -> None:
    spec = json.loads((runtime.bundle / "config.json").read_text())
    (runtime.root / "source").mkdir()
    bind = {"type": "bind", "source": str(runtime.root / "source"), "options": ["bind"]}
    new = {"type": "tmpfs", "source": "tmpfs"}
    more = [{**(bind, new)[number % 2], "destination": f"/m/{number}"} for number in range(6)]
    runtime.configure("busybox", "awk", "$5 ~ /^.m./ {print $5}", "/proc/self/mountinfo")
    runtime.change(mounts=[*more[:3], *spec["mounts"], *more[3:]])
    done = runtime("run", "-b", str(runtime.bundle), "box")
    assert done.stdout.split() == [mount["destination"] for mount in more]


@pytest.mark.parametrize(
    ("propagation", "shown"),
    [("unbindable", "unbindable"), ("runbindable", "unbindable"), ("private", ""), ("shared", "shared:")],
)
def test_the_root_s_propagation(runtime: Runtime, propagation: str, shown: str) -> None:
    runtime.configure("busybox", "awk", '$5 == "/" {print $7}', "/proc/self/mountinfo")
    runtime.change(linux={"rootfsPropagation": propagation})
    found = runtime("run", "-b", str(runtime.bundle), "box").stdout.strip()
    assert found.startswith(shown) and (shown or found == "-")


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("uts", {"hostname": "mine"}, "hostname cannot be set without a UTS namespace"),
        ("uts", {"hostname": "", "domainname": "mine"}, "domainname cannot be set without a UTS namespace"),
        ("network", {"linux": {"sysctl": {"net.core.somaxconn": "9"}}}, "without its network namespace"),
        ("ipc", {"linux": {"sysctl": {"kernel/shmmni": "9"}}}, "without its ipc namespace"),
        ("", {"linux": {"sysctl": {"kernel.panic": "9"}}}, "without its own namespace"),
        ("", {"linux": {"rootfsPropagation": "strange"}}, "linux.rootfsPropagation 'strange' is unknown"),
    ],
)
def test_the_host_s_own_values_are_not_set(runtime: Runtime, kind: str, changes: dict[str, object], words: str) -> None:
    runtime.configure("echo", "ran")
    spec = json.loads((runtime.bundle / "config.json").read_text())
    runtime.change(linux={"namespaces": [entry for entry in spec["linux"]["namespaces"] if entry["type"] != kind]})
    runtime.change(**changes)
    before = os.uname().nodename
    done = runtime("run", "-b", str(runtime.bundle), "box")
    assert done.returncode == 1 and words in done.stdout
    assert os.uname().nodename == before


def test_an_unknown_capability_is_refused_by_name(runtime: Runtime) -> None:
    runtime.configure("echo", "ran")
    runtime.change(process={"capabilities": {"bounding": ["CAP_TEST"]}})
    done = runtime("run", "-b", str(runtime.bundle), "box")
    assert done.returncode == 1 and "unknown capability 'CAP_TEST'" in done.stdout
