"""The content of one file into another: what holds data is copied, and holes stay holes, however large they are."""

from __future__ import annotations

import errno
import os

from corten.layers import holes

_SMALL = 1 << 16  # bytes; more than that can be worth sharing (FICLONE behind copy_file_range)
_CHUNK = 1 << 24  # bytes; bounds how long one call takes
_BY_HAND = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)  # other file systems than the source's


def copy(source: int, target: int) -> None:
    """Copy the file `source` to the new file `target`, as long as `source` is now; it may become shorter meanwhile."""
    status = os.fstat(source)
    size = status.st_size
    if size <= _SMALL and size <= status.st_blocks * 512:  # most files are small and have no holes
        _small(source, target, size)
        return
    os.ftruncate(target, size)
    for at, length in holes.data(source, size):
        while length:
            done = _piece(source, target, at, min(_CHUNK, length))
            if not done:
                return
            at, length = at + done, length - done


def write(fd: int, data: bytes) -> None:
    """All of it, at the file's position."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _small(source: int, target: int, size: int) -> None:
    at = 0
    while at < size and (done := os.sendfile(target, source, at, size - at)):
        at += done


def _piece(source: int, target: int, at: int, length: int) -> int:
    try:
        return os.copy_file_range(source, target, length, at, at)
    except OSError as error:
        if error.errno not in _BY_HAND:
            raise
    os.lseek(target, at, os.SEEK_SET)
    return os.sendfile(target, source, at, length)
