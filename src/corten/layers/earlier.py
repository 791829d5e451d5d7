"""What a copy has of a directory, for the next copy of the same directory: names, and how files of it looked.

A file whose inode, size, mtime and ctime are those of then was not changed since (`layers.sums`), so what was copied of
it is what would be copied now. Names of which that cannot be said are copied anew each time. Links and directories are
known in the same way, for `Earlier.all_of`: where nothing at all was changed, the whole copy is what it was.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from corten.layers.sources import walk
from corten.spec.dockerfile.ignore import Patterns

_ENTRY = struct.Struct("=QQqqH")  # inode, size, mtime and ctime in nanoseconds, bytes of the path behind it
_NONE = (0, 0, 0, 0)

Key = tuple[int, int, int, int]


def key(status: os.stat_result) -> Key:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Brought:
    """Everything that a copy has brought; `packed` is for an `Earlier`."""

    def __init__(self) -> None:
        self._keys: dict[bytes, dict[bytes, Key]] = {}

    def add(self, directory: bytes, name: bytes, status: os.stat_result | None) -> None:
        """`directory` is relative to the top and ends with a slash, "" is the top itself. None: what has this name is
        to be copied the next time as well."""
        self._keys.setdefault(directory, {})[name] = _NONE if status is None else key(status)

    def names(self, directory: bytes) -> Iterable[bytes]:
        return self._keys.get(directory, ())

    def packed(self) -> bytes:
        found = ((above + name, key) for above, names in self._keys.items() for name, key in names.items())
        return b"".join(_ENTRY.pack(*key, len(path)) + path for path, key in found)


class Earlier:
    """What the same copy brought before, of what `Brought` has packed."""

    def __init__(self, data: bytes) -> None:
        self._keys: dict[bytes, Key] = {}
        self._names: dict[bytes, set[bytes]] = {}  # by directory, with its slash; "" is the top
        at = 0
        while at < len(data):
            *found, length = _ENTRY.unpack_from(data, at)
            at += _ENTRY.size + length
            self._add(data[at - length : at], (found[0], found[1], found[2], found[3]))

    def _add(self, path: bytes, found: Key) -> None:
        self._keys[path] = found
        directory, slash, name = path.rpartition(b"/")
        self._names.setdefault(directory + slash, set()).add(name)

    def same(self, path: bytes, status: os.stat_result) -> bool:
        """Whether the file was brought as it is now."""
        return self._keys.get(path) == key(status)

    def all_of(self, top: int, exclude: Patterns) -> bool:
        """Whether what is in the directory `top`, but for what is left out, is all as it was brought, and nothing is
        gone."""
        for step in walk(top, exclude):
            level = step.level
            if step.what == "out":
                if (level.place or 0) != len(self._names.get(os.fsencode(level.prefix), ())):
                    return False
                continue
            if not self.same(os.fsencode(step.path), step.status):
                return False
            above = level.above if step.what == "in" else level
            if above is not None:
                above.place = (above.place or 0) + 1
        return True

    def gone(self, directory: bytes, names: Iterable[bytes]) -> set[bytes]:
        """What it had in a directory (as of `Brought.add`) beside these names."""
        return self._names.get(directory, set()) - set(names)
