"""Seeing that a file changes: inotify(7)."""

from __future__ import annotations

import os
import struct

from corten.kernel import syscall as sys

IN_MODIFY, IN_MOVED_TO, IN_CREATE = 0x2, 0x80, 0x100
OVERFLOW = -1  # as a watch: events were lost
_HEAD = struct.Struct("iIII")  # of struct inotify_event: watch, mask, cookie, length of the name behind it
_BUFFER = 1 << 16


def instance() -> int:
    """A non-blocking descriptor, closed on exec, for any number of watches. Raises OSError."""
    flags = os.O_NONBLOCK | os.O_CLOEXEC  # IN_NONBLOCK and IN_CLOEXEC are the same numbers
    return sys.syscall("inotify_init1", sys.SYS_inotify_init1, flags)


def add(instance: int, path: bytes, events: int) -> int:
    """A watch: the same one for the same file. Raises OSError."""
    return sys.syscall("inotify_add_watch", sys.SYS_inotify_add_watch, instance, path, events)


def remove(instance: int, watch: int) -> None:
    """Raises OSError, with EINVAL when the file has gone."""
    sys.syscall("inotify_rm_watch", sys.SYS_inotify_rm_watch, instance, watch)


def changed(instance: int) -> set[int]:
    """The watches of events that have come since the last call, not all of them where there are many; and OVERFLOW."""
    try:
        data = os.read(instance, _BUFFER)
    except BlockingIOError:
        return set()
    found, at = set(), 0
    while at < len(data):
        watch, _, _, length = _HEAD.unpack_from(data, at)
        found.add(watch)
        at += _HEAD.size + length
    return found


def watch(path: bytes, events: int) -> int:
    """An instance with one watch: readable after one of `events` at `path`. Raises OSError."""
    watcher = instance()
    try:
        add(watcher, path, events)
    except OSError:
        os.close(watcher)
        raise
    return watcher
