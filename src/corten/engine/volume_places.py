"""Where volumes lie, so that one and its record are both there or both not, wherever the daemon is killed.

    <volumes>/NAME/_data      a volume
    <volumes>/.moving/NAME    one that is being made, or removed
    <volumes>/.moving/.NAME   what is to be the first content of one
    <volumes>/.removed/HEX    what is being erased

Made: complete in `.moving`; the record; renamed to its place. Removed: renamed to `.moving`; the record deleted; thrown
away. So what a killed daemon left in `.moving` is a volume when it has a record and no place, and otherwise is not.
Filled: complete in `.moving/.NAME`; renamed over the empty `_data`.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from corten.snapshots.trash import Trash

MOVING, BIN = ".moving", ".removed"  # no volume can have such a name


class VolumePlaces:
    """`owner` (uid, gid) owns new volumes. Methods raise OSError."""

    def __init__(self, root: Path, trash: Trash, owner: tuple[int, int] = (0, 0)) -> None:
        self._root = root
        self._trash = trash
        self._owner = owner

    def data(self, name: str) -> Path:
        return self._root / name / "_data"

    def begin(self, name: str) -> None:
        """A new volume's directory; a directory that is there already, without a record, is taken as it is."""
        self._make()
        self.throw_away(name)
        top = self._root / name
        if not top.is_dir():
            top = self._root / MOVING / name
            top.mkdir(mode=0o700)
        if not (top / "_data").is_dir():
            self._fill(top / "_data")

    def _make(self) -> None:
        for path in (self._root, self._root / MOVING):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _fill(self, data: Path) -> None:
        """What a container's users see, so the daemon's umask must not decide."""
        data.mkdir()
        os.chmod(data, 0o755)
        if self._owner != (0, 0):
            os.chown(data, *self._owner)

    def begun(self, name: str) -> Path:
        """`_data` of a volume that `begin` has begun, wherever it is."""
        moving = self._root / MOVING / name
        return (moving if moving.is_dir() else self._root / name) / "_data"

    def settle(self, name: str) -> None:
        """Put what is in `.moving` to its place."""
        with suppress(FileNotFoundError):  # it never left it
            os.rename(self._root / MOVING / name, self._root / name)

    def withdraw(self, name: str) -> None:
        """Take a volume from its place, where another hand may have removed it already."""
        self._make()
        with suppress(FileNotFoundError):
            os.rename(self._root / name, self._root / MOVING / name)

    def throw_away(self, name: str) -> None:
        """What is in `.moving` goes to the trash, when there is something."""
        self._trash.take(self._root / MOVING / name)

    def stage(self, name: str) -> Path:
        """An empty directory like `_data`, in `.moving`, for the volume's first content."""
        self._make()
        self.discard_stage(name)
        top = self._stage(name)
        top.mkdir(mode=0o700)
        self._fill(top / "_data")
        return top / "_data"

    def _stage(self, name: str) -> Path:
        return self._root / MOVING / f".{name}"  # no volume can have such a name

    def exchange(self, name: str) -> None:
        """Put what was staged over the volume's `_data`, which has to be empty: ENOTEMPTY."""
        os.rename(self._stage(name) / "_data", self.data(name))
        os.rmdir(self._stage(name))

    def discard_stage(self, name: str) -> None:
        """What was staged goes to the trash, when there is something."""
        self._trash.take(self._stage(name))

    def recover(self, known: Collection[str]) -> None:
        """What a daemon that was killed left half-way; `known` are the names with a record."""
        if not (self._root / MOVING).is_dir():
            return
        self._make()
        for name in os.listdir(self._root / MOVING):
            if name in known and not os.path.lexists(self._root / name):
                self.settle(name)
            else:
                self._trash.take(self._root / MOVING / name)
