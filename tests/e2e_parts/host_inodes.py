"""The host's inodes that a container sees, and a container that tries to change them."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from e2e_parts import meddle
from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE
from fault_parts.images import python, python_binds

# Files that the engine makes for each container and that are the container's to write, as dockerd's are.
ITS_OWN = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
NULL = Path("/dev/null")
MEMORY = ("null", "zero", "full", "random", "urandom")  # nothing but a change of the node sets their times


class Inode(NamedTuple):
    mode: int
    owner: tuple[int, int]
    times: tuple[int, int]
    attributes: dict[str, bytes]


def look(path: str, times: bool = True) -> Inode:
    """The inode itself; a device is not opened."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        status, real = os.fstat(fd), f"/proc/self/fd/{fd}"
        linked = stat.S_ISLNK(status.st_mode)
        attributes = {} if linked else {name: os.getxattr(real, name) for name in os.listxattr(real)}
        when = (status.st_mtime_ns, status.st_ctime_ns) if times else (0, 0)
        return Inode(status.st_mode, (status.st_uid, status.st_gid), when, attributes)
    finally:
        os.close(fd)


def devices_of_host() -> dict[str, Inode]:
    found = {}
    for name in os.listdir("/dev"):
        with suppress(FileNotFoundError):  # loop devices of other tests come and go
            found[name] = look(f"/dev/{name}", name in MEMORY)
    return found


@contextmanager
def kept() -> Iterator[None]:
    """The host's devices are what they were; whatever happens, its /dev/null is afterwards. One test at a time: what is
    done to it here, at the end, changes its times."""
    with open(Path(tempfile.gettempdir(), "corten-test-host-inodes.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from _kept()


def _kept() -> Iterator[None]:
    before, status = devices_of_host(), NULL.stat()
    try:
        yield
        after = devices_of_host()
        assert {name: (inode, after[name]) for name, inode in before.items() if after.get(name, inode) != inode} == {}
    finally:
        os.chown(NULL, 0, 0)
        os.chmod(NULL, 0o666)
        for name in set(os.listxattr(NULL)) - before["null"].attributes.keys():
            os.removexattr(NULL, name)
        os.utime(NULL, ns=(status.st_atime_ns, status.st_mtime_ns))


def file_systems() -> set[int]:
    """The numbers of those that the host has mounted."""
    numbers = (line.split()[2].split(":") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return {os.makedev(int(major), int(minor)) for major, minor in numbers}


def binds() -> list[str]:
    return [bind.split(":")[1] for bind in python_binds()]


class Box:
    """A container whose first process tries it, once it is asked to, and stays."""

    def __init__(self, client: Client, *flags: str, own: tuple[str, ...] = ()) -> None:
        self.client = client
        self.own = (*ITS_OWN, *own)
        mounts = [word for bind in python_binds() for word in ("-v", bind)]
        client("run", "-d", "--name", "box", *mounts, *flags, IMAGE, *self.program("self", "wait"))
        self.pid = int(client.out("inspect", "-f", "{{.State.Pid}}", "box"))
        self.first = str(self.pid) if "--pid" in flags else "1"
        self.before = self.visible()

    def program(self, first: str, *words: str) -> list[str]:
        """The command that tries to change everything; `first` is the number of its first process in there."""
        devices = ",".join(map(str, file_systems()))
        return [*python(Path(meddle.__file__).read_text()), *words, devices, first, *binds()]

    def visible(self) -> dict[str, Inode]:
        """What it sees of the host's file systems, looked at from the host."""
        found, numbers, aside = {}, file_systems(), {"/", *binds()}
        for line in Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines():
            fields = line.split()
            place, kind = fields[4], fields[fields.index("-") + 1]
            root = f"/proc/{self.pid}/root{place}"
            if place not in aside and kind not in meddle.KERNELS_OWN and os.lstat(root).st_dev in numbers:
                # the kernel does not keep the times of a control group's directory: it makes them up at each look
                found[place] = look(root, not kind.startswith("cgroup"))
        return found

    def run(self) -> list[str]:
        """What the first process found to be changeable; paths and operations."""
        follower = self.client.popen("logs", "-f", "box")
        assert follower.stdout and follower.stdout.readline().strip() == b"ready"
        self.client("kill", "-s", "USR1", "box")
        return self.judge(follower.stdout.readline().decode())

    def exec(self, *flags: str) -> list[str]:
        return self.judge(self.client.out("exec", *flags, "box", *self.program(self.first)))

    def judge(self, said: str) -> list[str]:
        found = json.loads(said)
        numbers = file_systems()
        done = [(path, number, name) for path, number, tried in found for name, how in tried.items() if how == "done"]
        assert done, said  # it does what it is for: there is always something of the container's own
        changed = [f"{name} of {path}" for path, number, name in done if number in numbers and not self.its_own(path)]
        return changed + [f"{path}: {was}, now {now}" for path, was, now in self.changed() if not self.its_own(path)]

    def changed(self) -> list[tuple[str, Inode, Inode]]:
        now = self.visible()
        return [(path, inode, now[path]) for path, inode in self.before.items() if now[path] != inode]

    def its_own(self, path: str) -> bool:
        return any(path == own or path.startswith(f"{own}/") for own in self.own)
