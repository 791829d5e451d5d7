"""Where on the disk new directories begin: on ext4 in many parts of it in turn, so that none has many deleted inodes.

ext4 steps over every inode that was deleted in the last minutes before it takes one in the same group, for each file
anew (fs/ext4/ialloc.c, recently_deleted), and what is made in a directory goes into the directory's group. Containers
that come and go by the hundred so make each other slower. A directory stays where it was made when it is renamed: so
it is made in a place, one of some directories that lie far from one another, and then moved to where it belongs.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
from pathlib import Path

from corten.kernel import inodeflags

log = logging.getLogger(__name__)

_NUMBER = 64  # a flexible group of a 512 GB disk for each


class Places:
    """The places below `root`, which is there where the file system has use for it. Safe from any thread."""

    def __init__(self, root: Path) -> None:
        self._places: list[Path] = []
        self._turn = itertools.count()
        try:
            self._make(root)
        except OSError as error:  # on a full disk, say, where people want to remove things
            log.warning("%s: %s; containers' directories are made where they belong", root, error.strerror)

    def _make(self, root: Path) -> None:
        root.mkdir(mode=0o700, exist_ok=True)
        if not _top(root):
            root.rmdir()
            return
        for number in range(_NUMBER):
            place = root / str(number)
            place.mkdir(mode=0o700, exist_ok=True)
            for name in os.listdir(place):  # somebody was killed between the two steps of `mkdir`
                os.rmdir(place / name)
            self._places.append(place)

    def mkdir(self, path: Path, mode: int) -> None:
        """mkdir(2). Nobody else may make `path` meanwhile."""
        if not self._places:
            os.mkdir(path, mode)
            return
        made = self._places[next(self._turn) % len(self._places)] / path.name
        os.mkdir(made, mode)
        try:
            os.rename(made, path)
        except OSError as error:
            os.rmdir(made)
            if error.errno != errno.EXDEV:  # somebody has mounted a disk there
                raise
            os.mkdir(path, mode)


def _top(root: Path) -> bool:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return inodeflags.set_top(fd)
    finally:
        os.close(fd)
