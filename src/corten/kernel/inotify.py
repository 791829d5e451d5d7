"""Seeing that a file changes: inotify(7)."""

from __future__ import annotations

import os

from corten.kernel import syscall as sys

IN_MODIFY, IN_MOVED_TO, IN_CREATE = 0x2, 0x80, 0x100


def watch(path: bytes, events: int) -> int:
    """A non-blocking descriptor, closed on exec, that is readable after one of `events` at `path`. Raises OSError."""
    flags = os.O_NONBLOCK | os.O_CLOEXEC  # IN_NONBLOCK and IN_CLOEXEC are the same numbers
    watcher = sys.syscall("inotify_init1", sys.SYS_inotify_init1, flags)
    try:
        sys.syscall("inotify_add_watch", sys.SYS_inotify_add_watch, watcher, path, events)
    except OSError:
        os.close(watcher)
        raise
    return watcher
