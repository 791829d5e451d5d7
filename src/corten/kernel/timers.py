"""A time that passes, as a descriptor: timerfd_create(2)."""

from __future__ import annotations

import os
import struct

from corten.kernel import syscall as sys

_CLOCK_MONOTONIC = 1
_ITIMERSPEC = struct.Struct("qqqq")


def after(seconds: float) -> int:
    """A descriptor that is readable when they have passed; the caller closes it."""
    fd = sys.syscall("timerfd_create", sys.SYS_timerfd_create, _CLOCK_MONOTONIC, os.O_CLOEXEC | os.O_NONBLOCK)
    whole, nanoseconds = divmod(max(int(seconds * 1e9), 1), 1_000_000_000)
    try:
        value = _ITIMERSPEC.pack(0, 0, whole, nanoseconds)
        sys.syscall("timerfd_settime", sys.SYS_timerfd_settime, fd, 0, value, None)
    except OSError:
        os.close(fd)
        raise
    return fd
