"""The content of one file into another: what holds data is copied, and holes stay holes, however large they are."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

_CHUNK = 1 << 24  # bytes; bounds how long one call takes
_BY_HAND = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)  # other file systems than the source's


def copy(source: int, target: int) -> None:
    """Copy the file `source` to the new file `target`, as long as `source` is now; it may become shorter meanwhile."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    for begin, end in _data(source, size):
        while begin < end:
            done = _piece(source, target, begin, min(_CHUNK, end - begin))
            if not done:
                return
            begin += done


def _data(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where there is data: lseek(2), SEEK_DATA."""
    end = 0
    while end < size:
        try:
            begin = os.lseek(source, end, os.SEEK_DATA)
            end = os.lseek(source, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        yield begin, min(end, size)


def _piece(source: int, target: int, at: int, length: int) -> int:
    try:
        return os.copy_file_range(source, target, length, at, at)
    except OSError as error:
        if error.errno not in _BY_HAND:
            raise
    os.lseek(target, at, os.SEEK_SET)
    return os.sendfile(target, source, at, length)
