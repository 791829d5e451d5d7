"""Spreads new directories over ext4's block groups (Orlov allocator), so that none has many deleted inodes.

ext4 steps over every inode that was deleted in the last minutes before it takes one in the same group, for each file
anew (recently_deleted in fs/ext4/ialloc.c), and files are allocated in the group of their directory. Hundreds of short
containers in one group so become slower and slower. A directory keeps its group when it is renamed: it is made in one
of 64 parents, each in a group of its own, and then moved to its path.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
from pathlib import Path

from corten.kernel import inodeflags

log = logging.getLogger(__name__)

_NUMBER = 64  # one for each flexible block group of a 512 GB disk


class InodeSpread:
    """Parent directories below `root`, which exists only on a file system that needs it. Thread-safe."""

    def __init__(self, root: Path) -> None:
        self._parents: list[str] = []
        self._next = itertools.count()
        try:
            self._make(root)
        except OSError as error:  # on a full disk, for instance: removals must still work
            log.warning("%s: %s; containers' directories are not spread over block groups", root, error.strerror)

    def _make(self, root: Path) -> None:
        root.mkdir(mode=0o700, exist_ok=True)
        if not _top(root):
            root.rmdir()
            return
        for number in range(_NUMBER):
            parent = root / str(number)
            parent.mkdir(mode=0o700, exist_ok=True)
            for name in os.listdir(parent):  # left by a daemon that was killed within `mkdir`
                os.rmdir(parent / name)
            self._parents.append(str(parent))

    def mkdir(self, path: Path | str, mode: int) -> None:
        """mkdir(2). No other thread may make `path` meanwhile."""
        if not self._parents:
            os.mkdir(path, mode)
            return
        made = f"{self._parents[next(self._next) % len(self._parents)]}/{os.path.basename(path)}"
        os.mkdir(made, mode)
        try:
            os.rename(made, path)
        except OSError as error:
            os.rmdir(made)
            if error.errno != errno.EXDEV:  # another file system is mounted there
                raise
            os.mkdir(path, mode)


def _top(root: Path) -> bool:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return inodeflags.set_top(fd)
    finally:
        os.close(fd)
