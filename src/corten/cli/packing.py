"""A local file or directory as a tar, made while it is sent."""

from __future__ import annotations

import errno
import os
import stat

from corten.layers import write
from corten.layers.header import BLOCK_DEVICE, CHAR, DIRECTORY, FIFO, LINK, REGULAR, SYMLINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 1 << 18  # bytes that go out at once: thousands of small files must not be thousands of small messages
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: SYMLINK, stat.S_IFCHR: CHAR, stat.S_IFBLK: BLOCK_DEVICE,
          stat.S_IFIFO: FIFO}  # fmt: skip


def pack(path: str, name: str, follow: bool) -> Iterator[bytes | bytearray]:
    """`path`, called `name` in the tar ("": a directory's content goes by itself). `follow` is about `path` only."""
    batch = bytearray()
    for piece in _pieces(path, name, follow):
        if len(piece) >= _BLOCK and not batch:
            yield piece
            continue
        batch += piece
        if len(batch) >= _BLOCK:
            yield batch
            batch = bytearray()
    batch += write.END
    yield batch


def _pieces(path: str, name: str, follow: bool) -> Iterator[bytes]:
    status = os.stat(path) if follow else os.lstat(path)
    links: dict[tuple[int, int], str] = {}
    if not stat.S_ISDIR(status.st_mode):
        yield from _entry(os.path.realpath(path) if follow else path, name, status, links)
        return
    if name:
        yield from _entry(path, name, status, links)
    waiting = [(path, name)]
    while waiting:
        directory, shown = waiting.pop()
        with os.scandir(directory) as found:
            inside = sorted(found, key=lambda each: each.name)
        below = []
        for each in inside:
            inner = f"{shown}/{each.name}" if shown else each.name
            status = each.stat(follow_symlinks=False)
            yield from _entry(each.path, inner, status, links)
            if stat.S_ISDIR(status.st_mode):
                below.append((each.path, inner))
        waiting += reversed(below)


def _entry(path: str, name: str, status: os.stat_result, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    """What stands for one file; nothing for a socket. `links` are the files with several names that have one."""
    if stat.S_ISREG(status.st_mode):
        first = links.setdefault((status.st_dev, status.st_ino), name) if status.st_nlink > 1 else name
        if first != name:
            yield _header(name, LINK, status, link=os.fsencode(first))
        else:
            yield from _file(path, name)
        return
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind == SYMLINK:
        yield _header(name, kind, status, link=os.fsencode(os.readlink(path)))
    elif kind is not None:
        yield _header(name + "/" if kind == DIRECTORY else name, kind, status)


def _file(path: str, name: str) -> Iterator[bytes]:
    try:
        fd = os.open(path, _READ)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):  # removed, or exchanged for a link, since it was looked at
            return
        raise
    try:
        status = os.fstat(fd)
        left = status.st_size
        yield _header(name, REGULAR, status, size=left)
        while left:
            piece = os.read(fd, min(left, _BLOCK)) or bytes(min(left, _BLOCK))  # it became shorter
            left -= len(piece)
            yield piece
        yield write.padding(status.st_size)
    finally:
        os.close(fd)


def _header(name: str, kind: bytes, status: os.stat_result, link: bytes = b"", size: int = 0) -> bytes:
    device = kind in (CHAR, BLOCK_DEVICE)
    return write.header(
        os.fsencode(name),
        kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=size,
        mtime=status.st_mtime_ns // 10**9 * 10**9,  # whole seconds, as Docker: no further record for each file
        link=link,
        major=os.major(status.st_rdev) if device else 0,
        minor=os.minor(status.st_rdev) if device else 0,
    )
