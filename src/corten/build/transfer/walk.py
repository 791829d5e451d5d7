"""What a client says of its directory, entry by entry, checked.

The order is that of a walk: names of a directory by their bytes, a directory before what is in it. What is not said so
is refused: names that lead elsewhere, parents that were not said, links to what comes later, more than there may be.
"""

from __future__ import annotations

import os
import stat as modes

from corten.errors import Invalid
from corten.spec.protobuf.session import Stat

ENTRIES = 2_000_000  # of one transfer, as of a context's tar
DEPTH = 200
_PATH, _NAME = 4095, 255

DIRECTORY, SYMLINK, DEVICE, FIFO, SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
SETUID, SETGID, CHARACTER, STICKY, IRREGULAR = 1 << 23, 1 << 22, 1 << 21, 1 << 20, 1 << 19
TYPES = DIRECTORY | SYMLINK | DEVICE | FIFO | SOCKET | CHARACTER | IRREGULAR
_BITS = ((SETUID, modes.S_ISUID), (SETGID, modes.S_ISGID), (STICKY, modes.S_ISVTX))


def permissions(mode: int) -> int:
    """The bits of st_mode for those of Go's os.FileMode."""
    if not mode & (SETUID | SETGID | STICKY):
        return mode & 0o777
    return mode & 0o777 | sum(ours for theirs, ours in _BITS if mode & theirs)


class Walk:
    """Checks the order and the names of a walk."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._last = b""
        self._within: list[str] = []  # the directories that the last entry is in, or is, as prefixes with their slash

    def next(self, stat: Stat) -> int:
        """The entry's number. Raises Invalid."""
        path, within = stat.path, self._within
        if self._count >= self._most:
            raise Invalid(f"the context has more than {self._most} entries")
        while within and not path.startswith(within[-1]):
            within.pop()
        name = path[len(within[-1]) :] if within else path  # what is before it was checked already
        key = os.fsencode(path).replace(b"/", b"\0")
        if "/" in name or not _good(name) or len(path) > _PATH or len(within) >= DEPTH or key <= self._last:
            raise self._refusal(path, key)
        self._last = key
        if stat.mode & DIRECTORY:
            within.append(path + "/")
        elif len(stat.link) > _PATH:
            raise Invalid(f"the context has {path[:200]!r} as a link to more than {_PATH} characters")
        elif stat.link and not stat.mode & TYPES and not _earlier(stat.link, key):
            raise Invalid(f"the context has {path[:200]!r} as a link to {stat.link[:200]!r}, which was not there")
        self._count += 1
        return self._count - 1

    def _refusal(self, path: str, key: bytes) -> Invalid:
        names = path.split("/")
        if not all(map(_good, names)) or len(path) > _PATH or len(names) > DEPTH:
            return Invalid(f"the context has the name {path[:200]!r}, which is refused")
        if key <= self._last:
            return Invalid(f"the context has {path[:200]!r} behind {_name(self._last)!r}, which is the wrong order")
        return Invalid(f"the context has {path[:200]!r}, but not the directory it is in")


def _earlier(path: str, key: bytes) -> bool:
    return all(map(_good, path.split("/"))) and os.fsencode(path).replace(b"/", b"\0") < key


def _good(name: str) -> bool:
    return name not in ("", ".", "..") and "\0" not in name and len(name) <= _NAME


def _name(key: bytes) -> str:
    return os.fsdecode(key[:200].replace(b"\0", b"/"))
