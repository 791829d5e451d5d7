"""A local file or directory as a tar, made while it is sent."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import closing

from corten.client.beneath import Beneath
from corten.layers import write
from corten.layers.header import BLOCK_DEVICE, CHAR, DIRECTORY, FIFO, LINK, REGULAR, SYMLINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 1 << 18  # bytes that go out at once: thousands of small files must not be thousands of small messages
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)  # the last of a socket
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
        real = os.path.realpath(path) if follow else path
        above, slash, last = real.rpartition("/")
        with closing(Beneath(above or slash or ".")) as beneath:
            yield from entry(beneath, last, name, status, links)
        return
    with closing(Beneath(path)) as beneath:
        if name:
            yield from entry(beneath, "", name, status, links)
        waiting = [("", name)]
        while waiting:
            directory, shown = waiting.pop()
            below = []
            for each, status in beneath.scan(directory):
                there, inner = (f"{above}/{each}" if above else each for above in (directory, shown))
                yield from entry(beneath, there, inner, status, links)
                if stat.S_ISDIR(status.st_mode):
                    below.append((there, inner))
            waiting += reversed(below)


def entry(
    beneath: Beneath,
    path: str,
    name: str,
    status: os.stat_result,
    links: dict[tuple[int, int], str],
    whole_seconds: bool = True,
    owners: bool = True,
) -> Iterator[bytes]:
    """What stands for one file; nothing for a socket, and for what is gone or another thing meanwhile. `links` are the
    files with several names that have one.

    `whole_seconds`: times without their fraction, as Docker's client, which is no further record for each file. Without
    `owners` all is root's.
    """
    how = (whole_seconds, owners)
    if stat.S_ISREG(status.st_mode):
        first = links.setdefault((status.st_dev, status.st_ino), name) if status.st_nlink > 1 else name
        if first != name:
            yield _header(name, LINK, status, *how, link=os.fsencode(first))
        else:
            yield from _file(beneath, path, name, *how)
        return
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind == SYMLINK:
        try:
            target = beneath.readlink(path)
        except OSError as error:
            if error.errno not in (*_GONE, errno.EINVAL):
                raise
            return
        yield _header(name, kind, status, *how, link=os.fsencode(target))
    elif kind is not None:
        yield _header(name + "/" if kind == DIRECTORY else name, kind, status, *how)


def _file(beneath: Beneath, path: str, name: str, whole_seconds: bool, owners: bool) -> Iterator[bytes]:
    try:
        fd = beneath.open(path)
    except OSError as error:
        if error.errno in _GONE:  # removed, or exchanged, since it was looked at
            return
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return
        left = status.st_size
        yield _header(name, REGULAR, status, whole_seconds, owners, size=left)
        while left:
            piece = os.read(fd, min(left, _BLOCK)) or bytes(min(left, _BLOCK))  # it became shorter
            left -= len(piece)
            yield piece
        yield write.padding(status.st_size)
    finally:
        os.close(fd)


def _header(
    name: str,
    kind: bytes,
    status: os.stat_result,
    whole_seconds: bool,
    owners: bool,
    link: bytes = b"",
    size: int = 0,
) -> bytes:
    device = kind in (CHAR, BLOCK_DEVICE)
    return write.header(
        os.fsencode(name),
        kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid if owners else 0,
        gid=status.st_gid if owners else 0,
        size=size,
        mtime=status.st_mtime_ns // 10**9 * 10**9 if whole_seconds else status.st_mtime_ns,
        link=link,
        major=os.major(status.st_rdev) if device else 0,
        minor=os.minor(status.st_rdev) if device else 0,
    )
