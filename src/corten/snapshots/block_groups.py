"""The ext4 block groups that new layers' trees start in: none in which a tree was deleted in the last minutes.

ext4 steps over every inode that was deleted in the last minutes before it takes one in the same group, and it does so
again for each file: 15,000 files that take half a second elsewhere take six in the group of a tree that was removed
just now (recently_deleted in fs/ext4/ialloc.c). The subdirectories of a directory with the flag of `chattr +T` start
in groups that have few directories, which is where one was removed. So the group of a new directory is looked up, and
another directory is made when it is such a group. The flag is set only meanwhile: the few files of a container are not
worth the search.
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


class Made(Protocol):
    """A directory that was made at `path`."""

    @property
    def path(self) -> Path: ...


T = TypeVar("T", bound=Made)


class BlockGroups:
    """The block groups below `root`. Thread-safe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._enabled = self._scatter(False)  # False on other file systems than ext4
        self._scattering = threading.Lock()
        self._lock = threading.Lock()
        self._emptied: dict[int, float] = {}  # group, and when a tree was last removed in it (CLOCK_MONOTONIC)

    def choose(self, make: Callable[[], T], unmake: Callable[[T], None]) -> T:
        """`make` a tree in a group without recent deletions; those made in other groups meanwhile are unmade."""
        if not self._enabled:
            return make()
        bad: list[T] = []
        with self._scattering:
            self._scatter(True)
            try:
                while True:
                    made = make()
                    if len(bad) == _TRIES or not self._avoided(_group(made.path)):
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
        """Note that the tree at `directory` is about to be deleted."""
        if not self._enabled:
            return
        try:
            group = _group(directory)
        except FileNotFoundError:
            return
        with self._lock:
            self._emptied[group] = time.monotonic()

    def _avoided(self, group: int) -> bool:
        with self._lock:
            return time.monotonic() - self._emptied.get(group, -_SECONDS) < _SECONDS


def _group(directory: Path) -> int:
    return os.stat(directory).st_ino // _INODES
