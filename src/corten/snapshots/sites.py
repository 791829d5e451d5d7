"""Where on the disk a new layer's tree begins: not where one was deleted a short time ago.

ext4 steps over every inode that was deleted in the last minutes before it takes one in the same group, and it does so
again for each file: 15,000 files that take half a second elsewhere take six in the place of a tree that was removed
just now (fs/ext4/ialloc.c, recently_deleted). The subdirectories of a directory with the flag of `chattr +T` begin
in groups that have few directories, which is where one was removed; so we look where a new one has begun, and make
another when it is there. The flag is there only meanwhile: the few files of a container are not worth the search.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from corten.kernel import inodeflags
from corten.layers import tree

_SECONDS = 300  # for so long a deleted inode is avoided, at most
_INODES = 16 * 8192  # in what ext4 fills before it goes elsewhere: a flexible group, as mke2fs makes it by default
_TRIES = 64


class Placed(Protocol):
    """What has begun at `path`."""

    @property
    def path(self) -> Path: ...


T = TypeVar("T", bound=Placed)


class Sites:
    """Safe from any thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._chosen = self._scatter(False)  # elsewhere there is nothing to choose
        self._scattering = threading.Lock()
        self._lock = threading.Lock()
        self._emptied: dict[int, float] = {}  # place, and when a tree was last removed there

    def choose(self, make: Callable[[], T], unmake: Callable[[T], None]) -> T:
        """`make` a tree in a good place; those that it made in bad places meanwhile are unmade."""
        if not self._chosen:
            return make()
        bad: list[T] = []
        with self._scattering:
            self._scatter(True)
            try:
                while True:
                    made = make()
                    if len(bad) == _TRIES or not self._avoided(_place(made.path)):
                        return made
                    bad.append(made)
            finally:
                self._scatter(False)
                for each in bad:
                    unmake(each)

    def _scatter(self, apart: bool) -> bool:
        fd = tree.open_directory(os.fsencode(self._root))
        try:
            return inodeflags.set_top(fd, apart)
        finally:
            os.close(fd)

    def emptied(self, directory: Path) -> None:
        """The tree at `directory`, which is still there, is about to be deleted."""
        if not self._chosen:
            return
        try:
            place = _place(directory)
        except FileNotFoundError:
            return
        with self._lock:
            self._emptied[place] = time.monotonic()

    def _avoided(self, place: int) -> bool:
        with self._lock:
            return time.monotonic() - self._emptied.get(place, -_SECONDS) < _SECONDS


def _place(directory: Path) -> int:
    return os.stat(directory).st_ino // _INODES
