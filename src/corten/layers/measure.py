"""What a tree takes on disk, to the last inode, however deep it is: what `du` would count."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from corten.layers.tree import count, open_directory


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


def measure(parent: int, name: bytes, found: Measure) -> None:
    """Count `name` in the directory `parent`, and everything below it. What vanishes meanwhile is left out."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        found.add(status)
        if not stat.S_ISDIR(status.st_mode):
            return
        top = open_directory(name, parent)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        count(top, found.add)
    finally:
        os.close(top)
