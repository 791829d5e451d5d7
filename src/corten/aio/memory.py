"""Memory that is free goes back to the kernel (mallopt(3), malloc_trim(3))."""

from __future__ import annotations

import asyncio
import ctypes
import logging

log = logging.getLogger(__name__)

_MALLOC = ((-3, 1 << 20), (-1, 4 << 20), (-8, 2))  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD in bytes; M_ARENA_MAX
_SECONDS = 3.0


def bound() -> None:
    """What is freed goes back to the kernel, but for a few megabytes (mallopt(3)), in as few heaps as two cores need.

    By default glibc learns from the first megabyte that is freed to keep such ones, in a heap for each thread: a push
    and a pull of a gigabyte left 79 MB resident instead of 54. Giving back every piece of a stream, on the other hand,
    means to have a page fault for each of its pages: a third of the time of a pull.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return  # another C library
    for parameter, value in _MALLOC:
        if not mallopt(parameter, value):
            log.warning("memory that is freed may stay with the daemon: mallopt(%d) is refused", parameter)


def trim() -> None:
    """Give back all that is free now, in the middle of heaps too (malloc_trim(3)): the start had 2 MB for a moment."""
    if (found := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        found(0)


class Trimming:
    """`trim` some seconds after work that had memory, once for all that ended meanwhile. It takes about a millisecond;
    an image that was loaded leaves 3 MB."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._due: asyncio.TimerHandle | None = None

    def after_work(self) -> None:
        """Some work has ended. Called in the event loop."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(self._seconds, self._trim)

    def _trim(self) -> None:
        self._due = None
        trim()
