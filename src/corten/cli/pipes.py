"""Pipes on our standard input."""

from __future__ import annotations

import fcntl

BLOCK = 1 << 18  # bytes that are read at once


def widen(fd: int) -> None:
    """Let a pipe hold as much as is read at once: each time that it runs empty is a wait for its writer."""
    try:
        if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < BLOCK:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, BLOCK)
    except OSError:
        pass  # no pipe, or the user's quota of pipes (pipe(7)): slower, not wrong
