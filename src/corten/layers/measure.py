"""What a tree takes on disk, to the last inode, however deep it is: what `du` would count."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import NamedTuple

from corten.layers.tree import open_directory


@dataclass(slots=True)
class Measure:
    """Bytes allocated and inodes, directories among them. A file with several links is counted once: `seen` are those
    of earlier measures, `fresh` those of this one."""

    bytes: int = 0
    inodes: int = 0
    seen: frozenset[tuple[int, int]] | set[tuple[int, int]] = frozenset()
    fresh: set[tuple[int, int]] = field(default_factory=set)

    def add(self, status: os.stat_result) -> None:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            key = (status.st_dev, status.st_ino)
            if key in self.seen or key in self.fresh:
                return
            self.fresh.add(key)
        self.bytes += status.st_blocks * 512
        self.inodes += 1


class _Place(NamedTuple):
    """A directory that was left for one below it: what is still to enter, and how to know it again."""

    waiting: list[bytes]
    device: int
    inode: int


def measure(parent: int, name: bytes, found: Measure) -> None:
    """Count `name` in the directory `parent`, and everything below it. What vanishes meanwhile is left out.

    One descriptor is open at a time; the way back up is `..`, which must be the directory that we came from:
    OSError(ESTALE) when somebody has moved it meanwhile.
    """
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    found.add(status)
    if not stat.S_ISDIR(status.st_mode):
        return
    try:
        current = open_directory(name, parent)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        places = [_enter(current, found)]
        while places:
            if places[-1].waiting:
                try:
                    below = open_directory(places[-1].waiting.pop(), current)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                os.close(current)
                current = below
                places.append(_enter(current, found))
                continue
            places.pop()
            if places:
                above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=current)
                os.close(current)
                current = above
                _same(current, places[-1])
    finally:
        os.close(current)


def _enter(fd: int, found: Measure) -> _Place:
    waiting: list[bytes] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            found.add(status)
            if stat.S_ISDIR(status.st_mode):
                waiting.append(os.fsencode(entry.name))
    status = os.fstat(fd)
    return _Place(waiting, status.st_dev, status.st_ino)


def _same(fd: int, place: _Place) -> None:
    status = os.fstat(fd)
    if (status.st_dev, status.st_ino) != (place.device, place.inode):
        raise OSError(errno.ESTALE, "a directory was moved while it was measured")
