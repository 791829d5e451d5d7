"""Trees as values: everything that is to be the same in an image of one. Needs nothing that a guest lacks."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from pathlib import Path
from typing import Any

from corten.kernel import xattr
from corten.layers import holes, tree

Thing = dict[str, Any]

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service=ep, revision 2
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 6, 0xFFFFFFFF), (2, 4, 7), (4, 4, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF))
)


def pattern(size: int) -> bytes:
    """So many bytes, no two blocks of which are the same."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def fill(top: Path) -> None:
    """Something of each kind, in the directory `top`. Needs root."""
    for size in (0, 1, 2560, 2561, 4096, 5000, 8191, 200_001):
        (top / f"of {size}").write_bytes(pattern(size))
    with (top / "sparse").open("wb") as file:
        file.truncate(3 << 20)
        for at in (100_000, 1 << 20, (3 << 20) - 4):
            file.seek(at)
            file.write(b"data")
    (top / "many").mkdir()
    for number in range(500):
        (top / "many" / f"name-{number}").touch()
    (top / "many" / ("n" * 255)).touch()
    os.mkdir(os.fsencode(top) + b"/\xff no unicode")
    os.symlink("of 1", top / "link")
    os.symlink("y" * 4095, top / "longest link")
    os.link(top / "of 5000", top / "many" / "again")
    os.mkfifo(top / "fifo")
    os.mknod(top / "device", stat.S_IFCHR | 0o666, os.makedev(1, 70_000))
    os.mknod(top / "whiteout", stat.S_IFCHR, os.makedev(0, 0))
    os.chown(top / "of 1", 70_000, 4_000_000_000)
    os.chmod(top / "of 1", 0o6755)
    os.utime(top / "of 0", ns=(0, -1_500_000_001))
    for name in ("of 2560", "of 2561", "of 4096", "many"):
        os.setxattr(top / name, "user.same", b"in all of them")
    os.setxattr(top / "of 4096", "security.capability", CAPABILITY)
    os.setxattr(top / "of 4096", "system.posix_acl_access", ACL)
    os.setxattr(top / "many", "trusted.of-the-engine", b"y")


def described(top: int) -> dict[bytes, Thing]:
    """Everything that is to be the same in an image, by path; b"" is the directory `top` itself."""
    top = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top)
    try:
        numbers: dict[int, int] = {}
        found = {b"": _thing(top, b".", os.fstat(top), numbers)}
        for each in tree.walk(top):
            found[each.path] = _thing(each.dirfd, each.name, each.status, numbers)
    finally:
        os.close(top)
    names = [thing["same as"] for thing in found.values()]
    for path, thing in found.items():
        if stat.S_ISDIR(thing["mode"]):
            below = [p for p, t in found.items() if p and os.path.dirname(p) == path and stat.S_ISDIR(t["mode"])]
            thing["links"] = 2 + len(below)  # btrfs has 1 for all
        else:
            thing["links"] = names.count(thing["same as"])
    return found


def link_counts(top: int) -> dict[bytes, int]:
    """What stat(2) says."""
    top = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top)
    try:
        return {b"": os.fstat(top).st_nlink} | {each.path: each.status.st_nlink for each in tree.walk(top)}
    finally:
        os.close(top)


def _thing(dirfd: int, name: bytes, status: os.stat_result, numbers: dict[int, int]) -> Thing:
    mode = status.st_mode
    found: Thing = {
        "mode": mode,
        "owner": (status.st_uid, status.st_gid),
        "time": status.st_mtime_ns,
        "device": status.st_rdev,
        "same as": numbers.setdefault(status.st_ino, len(numbers)),
        "attributes": dict(sorted(xattr.all_at(dirfd, name).items())),
    }
    if stat.S_ISLNK(mode):
        found["target"] = os.readlink(name, dir_fd=dirfd)
    elif stat.S_ISREG(mode):
        found["size"] = status.st_size
        found["sum"] = _sum(dirfd, name, status.st_size)
    return found


def _sum(dirfd: int, name: bytes, size: int) -> str:
    """Of the data and where it is, holes and zeros left out: two files of the same bytes have the same."""
    fd, hashed = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dirfd), hashlib.sha256()
    try:
        for begin, length in holes.data(fd, size):
            for at in range(begin // 4096 * 4096, begin + length, 4096):
                piece = os.pread(fd, 4096, at)
                if piece.strip(b"\0"):
                    hashed.update(b"%d %d " % (at, len(piece)) + piece)
    finally:
        os.close(fd)
    return hashed.hexdigest()
