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
    yield from batched(_pieces(path, name, follow))


def batched(pieces: Iterator[bytes]) -> Iterator[bytes | bytearray]:
    """An archive's pieces, the small ones put together, and its end."""
    batch = bytearray()
    for piece in pieces:
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
        yield from entry(os.path.realpath(path) if follow else path, name, status, links)
        return
    if name:
        yield from entry(path, name, status, links)
    waiting = [(path, name)]
    while waiting:
        directory, shown = waiting.pop()
        with os.scandir(directory) as found:
            inside = sorted(found, key=lambda each: each.name)
        below = []
        for each in inside:
            inner = f"{shown}/{each.name}" if shown else each.name
            status = each.stat(follow_symlinks=False)
            yield from entry(each.path, inner, status, links)
            if stat.S_ISDIR(status.st_mode):
                below.append((each.path, inner))
        waiting += reversed(below)


def entry(
    path: str, name: str, status: os.stat_result, links: dict[tuple[int, int], str], whole_seconds: bool = True
) -> Iterator[bytes]:
    """What stands for one file; nothing for a socket. `links` are the files with several names that have one.

    `whole_seconds`: times without their fraction, as Docker's client, which is no further record for each file.
    """
    if stat.S_ISREG(status.st_mode):
        first = links.setdefault((status.st_dev, status.st_ino), name) if status.st_nlink > 1 else name
        if first != name:
            yield _header(name, LINK, status, whole_seconds, link=os.fsencode(first))
        else:
            yield from _file(path, name, whole_seconds)
        return
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind == SYMLINK:
        yield _header(name, kind, status, whole_seconds, link=os.fsencode(os.readlink(path)))
    elif kind is not None:
        yield _header(name + "/" if kind == DIRECTORY else name, kind, status, whole_seconds)


def _file(path: str, name: str, whole_seconds: bool) -> Iterator[bytes]:
    try:
        fd = os.open(path, _READ)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):  # removed, or exchanged for a link, since it was looked at
            return
        raise
    try:
        status = os.fstat(fd)
        left = status.st_size
        yield _header(name, REGULAR, status, whole_seconds, size=left)
        while left:
            piece = os.read(fd, min(left, _BLOCK)) or bytes(min(left, _BLOCK))  # it became shorter
            left -= len(piece)
            yield piece
        yield write.padding(status.st_size)
    finally:
        os.close(fd)


def _header(
    name: str, kind: bytes, status: os.stat_result, whole_seconds: bool, link: bytes = b"", size: int = 0
) -> bytes:
    device = kind in (CHAR, BLOCK_DEVICE)
    return write.header(
        os.fsencode(name),
        kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=size,
        mtime=status.st_mtime_ns // 10**9 * 10**9 if whole_seconds else status.st_mtime_ns,
        link=link,
        major=os.major(status.st_rdev) if device else 0,
        minor=os.minor(status.st_rdev) if device else 0,
    )
