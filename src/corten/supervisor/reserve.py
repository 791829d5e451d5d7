"""Descriptors that are kept for the daemon's requests.

Containers and the network may have any number of sockets of a process that serves all of them, and clients of the API
any number of a supervisor's. The daemon's requests bring descriptors: without room for these its connection would be
lost with each of them, and came again with the next. A supervisor's did not come again: its container was ended.
"""

from __future__ import annotations

import errno
import os
import resource

KEPT = 64  # or a quarter of all


def allows(fd: int) -> bool:
    """Whether a socket of that number may stay. The kernel gives the lowest one that is free (open(2)), so it is by its
    number that a descriptor is one of the last."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return fd < most - min(KEPT, most // 4)


def check(fd: int) -> None:
    """Raises OSError (EMFILE) for one that may not stay. It is the caller's to close."""
    if not allows(fd):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def check_next() -> None:
    """Raises OSError (EMFILE) where the next descriptor would be one that may not stay."""
    fd = os.dup(0)
    try:
        check(fd)
    finally:
        os.close(fd)
