"""No inode of the host can be changed from a container, but those that it was given to write to.

The same list as with dockerd 20.10, except that a process begun by `docker exec` has the host's /dev/null as its
standard input there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts import host_inodes
from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE
from e2e_parts.host_inodes import ITS_OWN, Box

NULL = "character special file 1:3"
LOOK = "stat -L -c '%F %t:%T' /proc/self/fd/0; stat -L -c %d:%i /proc/self/fd/0 /dev/null"


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    with host_inodes.kept():
        yield


@pytest.mark.parametrize(
    ("flags", "own"),
    [
        ((), ()),
        (("--device", "/dev/zero:/dev/nil", "--device", "/dev/full"), ()),
        (("--read-only",), ()),
        (("--pid", "host", "--network", "host"), ()),
        (("--privileged",), ("/sys/fs/cgroup",)),  # its own control group, which ends with it
    ],
    ids=lambda flags: " ".join(flags),
)
def test_nothing_of_the_host_can_be_changed(docker: Client, flags: tuple[str, ...], own: tuple[str, ...]) -> None:
    box = Box(docker, *flags, own=own)
    assert set(ITS_OWN) <= set(box.before)  # so it is looked at what is the host's
    assert box.run() == []
    for how in ((), ("-t",), ("--privileged",), ("-u", "1000")):
        assert (how, box.exec(*how)) == (how, [])


def test_without_a_dev_of_its_own(docker: Client, tmp_path: Path) -> None:
    """A read-only mount of the host's null device stands in, and files are masked as ever."""
    box = Box(docker, "-v", f"{tmp_path}:/dev", own=("/dev",))
    seen = docker.out("exec", "box", "sh", "-c", f"{LOOK}; wc -c < /proc/keys").splitlines()
    assert (seen[0], seen[-1]) == (NULL, "0")
    assert box.run() == []
    for how in ((), ("--privileged",)):
        assert (how, box.exec(*how)) == (how, [])


def test_a_dev_without_devices(docker: Client) -> None:
    """--tmpfs is nodev: its null device cannot be opened."""
    box = Box(docker, "--tmpfs", "/dev")
    assert box.run() == box.exec() == box.exec("--privileged") == []


def test_the_host_s_dev_read_only(docker: Client) -> None:
    """Its null device is the container's, by the mount that the user made read-only."""
    change = "chmod 666 /proc/self/fd/0; touch -d 2001-01-01 /proc/self/fd/0; readlink /proc/self/fd/0"
    flags = ["-v", "/dev:/dev:ro"]
    done = docker("run", "--rm", *flags, IMAGE, "sh", "-c", change)
    assert done.err.count("Read-only file system") == 2 and done.out == "/dev/null\n"
    docker("run", "-d", "--name", "box", *flags, IMAGE, "sleep", "1000")
    assert docker("exec", "box", "sh", "-c", change).err.count("Read-only file system") == 2


def test_what_a_container_makes_of_its_null_device_is_not_opened(docker: Client) -> None:
    docker("run", "-d", "--name", "box", IMAGE, "sh", "-c", "rm /dev/null; mknod /dev/null p; sleep 1000")
    docker("exec", "box", "sh", "-c", "until test -p /dev/null; do sleep 0.01; done")
    assert docker.out("exec", "box", "stat", "-L", "-c", "%F %t:%T", "/proc/self/fd/0") == NULL


def test_a_health_check_has_the_container_s_null_device(docker: Client) -> None:
    check = f"({LOOK}) > /seen.new; mv /seen.new /seen"
    flags = ["--health-cmd", check, "--health-interval", "50ms"]
    docker("run", "-d", "--name", "box", *flags, IMAGE, "sleep", "1000")
    seen = docker.out("exec", "box", "sh", "-c", "until test -e /seen; do sleep 0.02; done; cat /seen").splitlines()
    assert seen[0] == NULL and seen[1] == seen[2]


def test_a_detached_exec_has_the_container_s_null_device(docker: Client) -> None:
    docker("run", "-d", "--name", "box", IMAGE, "sleep", "1000")
    docker("exec", "-d", "box", "sh", "-c", f"({LOOK}) > /seen.new; mv /seen.new /seen")
    seen = docker.out("exec", "box", "sh", "-c", "until test -e /seen; do sleep 0.02; done; cat /seen").splitlines()
    assert seen[0] == NULL and seen[1] == seen[2]
