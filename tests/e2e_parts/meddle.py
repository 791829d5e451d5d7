"""A program that runs inside of a container: it tries to change whatever it can name there of the host's.

`python -c SOURCE [wait] DEVICES FIRST BOUND...`: DEVICES are the numbers of the host's file systems, FIRST that of the
container's first process in there, BOUND what the test has mounted for this program itself. It prints one line, JSON:
[path, device number, {operation: "done" or the error}]. With "wait" it says "ready" first, goes on by SIGUSR1, and
stays until another one.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator

_CAPABILITY = b"\x01\x00\x00\x02" + bytes(16)  # capabilities(7), VFS_CAP_REVISION_2: none
_ODD = 12345
KERNELS_OWN = ("proc", "sysfs")  # file systems whose inodes the kernel shares with every container, dockerd's too


def operations(path: str) -> dict[str, Callable[[], object]]:
    return {
        "chmod": lambda: os.chmod(path, 0o1777),
        "chown": lambda: os.chown(path, _ODD, _ODD),
        "utimes": lambda: os.utime(path, (1, 1)),
        "utimes to now": lambda: os.utime(path),
        "setxattr user": lambda: os.setxattr(path, "user.odd", b"1"),
        "setxattr trusted": lambda: os.setxattr(path, "trusted.odd", b"1"),
        "setxattr security": lambda: os.setxattr(path, "security.capability", _CAPABILITY),
        "truncate": lambda: os.truncate(path, 0),  # opens nothing: devices of a privileged container are the machine's
    }


def tried(operation: Callable[[], object]) -> str:
    try:
        operation()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def below(place: str) -> Iterator[str]:
    """`place` and all that lies below it on the same file system. No other one is entered, above all not /proc."""
    yield place
    own = os.lstat(place).st_dev
    for directory, directories, files in os.walk(place):
        here = {name: os.path.join(directory, name) for name in (*directories, *files)}
        same = {name: path for name, path in here.items() if os.lstat(path).st_dev == own}
        directories[:] = [name for name in directories if name in same]
        yield from same.values()


def mounted(devices: set[int], bound: set[str]) -> Iterator[str]:
    """What lies on the file systems of the host, below each mount of them but the root, which is the container's."""
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split() for line in file]
    for fields in mounts:
        major, minor = fields[2].split(":")
        place, kind = fields[4], fields[fields.index("-") + 1]
        if os.makedev(int(major), int(minor)) in devices and place not in {"/", *bound} and kind not in KERNELS_OWN:
            yield from below(place)


def targets(devices: set[int], bound: set[str], first: str) -> Iterator[str]:
    yield from mounted(devices, bound)
    for process in ("self", first):
        yield from (f"/proc/{process}/fd/{number}" for number in (0, 1, 2))
    yield from below("/dev")


def main(words: list[str]) -> None:
    if words[0] != "wait":
        meddle(words)
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    print("ready", flush=True)
    signal.sigwait([signal.SIGUSR1])
    meddle(words[1:])
    signal.sigwait([signal.SIGUSR1])


def meddle(words: list[str]) -> None:
    devices = {int(number) for number in words[0].split(",")}
    found = []
    for path in dict.fromkeys(targets(devices, set(words[2:]), words[1])):
        try:
            status = os.stat(path)
        except OSError:  # a link that leads nowhere, a descriptor of another user's process
            continue
        found.append([path, status.st_dev, {name: tried(do) for name, do in operations(path).items()}])
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
