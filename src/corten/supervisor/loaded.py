"""Whether the code on disk is still what a process has in its memory.

A supervisor lives for months, and for rare work it loads modules only then. After an upgrade those are of another
version than what it has already: rather than to mix the two, such work is refused.
"""

from __future__ import annotations

import os

_ROOMS = ("kernel", "layers", "instance", "runtime", "supervisor")  # what supervisors load, with the files above them
_at_first: int | None = None


def remember() -> None:
    """This process, and all that are forked from it, has the code that is on disk now."""
    global _at_first
    _at_first = _stamp()


def has_changed() -> bool:
    """Whether it is another one now, or none; False where nothing was remembered."""
    return _at_first is not None and _stamp() != _at_first


def _stamp() -> int:
    top = os.path.dirname(os.path.dirname(__file__))
    found = []
    for directory in (top, *(os.path.join(top, room) for room in _ROOMS)):
        try:
            with os.scandir(directory) as files:
                statuses = [(file.name, file.stat()) for file in files if file.name.endswith(".py")]
        except OSError:  # it was moved away
            return 0
        found += sorted((name, status.st_ino, status.st_size, status.st_mtime_ns) for name, status in statuses)
    return hash(tuple(found))
