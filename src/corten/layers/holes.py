"""Files with holes (lseek(2), SEEK_DATA): where their data lies, so that no hole is read, compared or sent as zeros."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator


def data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of the parts of the first `size` bytes that hold data. Moves the position of `fd`."""
    at = 0
    while (begin := next_data(fd, at, size)) < size:
        at = min(_seek(fd, begin, os.SEEK_HOLE), size)
        yield begin, at - begin


def next_data(fd: int, at: int, size: int) -> int:
    """Where data begins, from `at` on; `size` when only a hole is left. Moves the position of `fd`."""
    return min(_seek(fd, at, os.SEEK_DATA), size) if at < size else size


def _seek(fd: int, at: int, how: int) -> int:
    try:
        return os.lseek(fd, at, how)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole, or the file has become shorter
            return sys.maxsize
        raise


def few(parts: Iterable[tuple[int, int]], most: int, gap: int = -1) -> list[tuple[int, int]]:
    """The same parts, those that are at most `gap` bytes apart in one; so many in one that there are `most`."""
    kept: list[tuple[int, int]] = []
    for offset, length in parts:
        begin, before = kept[-1] if kept else (0, 0)
        if kept and offset - begin - before <= gap:
            kept[-1] = (begin, offset + length - begin)
        else:
            kept.append((offset, length))
        while len(kept) > most:
            gap = max(2 * gap, 4096)
            kept = few(kept, len(kept), gap)
    return kept
