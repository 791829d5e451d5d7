"""What a container has changed: its own tree against the one it stands on.

With overlay the own tree is the upper directory, where everything that is there was touched; with the copying driver
(`whole`) it is all files, and those that differ were touched.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from typing import NamedTuple

from corten.kernel import paths, xattr
from corten.layers import tree, whiteout
from corten.layers.directory_stack import DirectoryStack
from corten.layers.owners import AS_THEY_ARE, Owners

MODIFIED, ADDED, DELETED = 0, 1, 2  # as Docker's API numbers them
# Made by the engine for what it mounts; the container itself cannot change what lies under these mounts.
_OWN = frozenset((b"dev", b"proc", b"sys", b".dockerenv", b"etc/hosts", b"etc/hostname", b"etc/resolv.conf"))


class Change(NamedTuple):
    """`dirfd` and `name` are good during the step only; `status` is None for what is deleted."""

    kind: int
    path: bytes
    dirfd: int
    name: bytes
    status: os.stat_result | None


class _Frame:
    """A directory of the own tree. `based`: the same one is below. `full`: what is below shows through nowhere.
    `waiting` is the change of the directory itself, which is one when something in it has changed."""

    def __init__(
        self, own: DirectoryStack, base: DirectoryStack | None, prefix: bytes, full: bool, waiting: Change | None
    ) -> None:
        self.based = base is not None
        self.prefix = prefix
        self.full = full
        self.waiting = waiting
        there = tree.names(own.fd)
        self.names = iter(there)
        self.gone = iter(sorted(set(tree.names(base.fd)).difference(there)) if full and base is not None else [])


def changes(
    own: int, base: int | None, whole: bool = False, owners: Owners = AS_THEY_ARE, longest: int = sys.maxsize
) -> Iterator[Change]:
    """Every change, each directory before what is in it. A directory counts when something in it does, or itself.

    `base` is the tree below as containers see it (None: there is none). The descriptors stay the caller's. `owners`
    says whose things are in the container: those of its own tree may have other ids on the disk. Directories whose
    path is longer than `longest` bytes are not entered. What vanishes from the own tree meanwhile is left out.
    """
    comparison = _Comparison(own, base, whole, owners, longest)
    try:
        yield from comparison.run()
    finally:
        comparison.close()


class _Comparison:
    def __init__(self, own: int, base: int | None, whole: bool, owners: Owners, longest: int) -> None:
        self._own = DirectoryStack(own)
        self._base = DirectoryStack(base) if base is not None else None
        self._whole = whole
        self._owners = owners
        self._longest = longest
        self._frames: list[_Frame] = []
        self._waiting = 0  # frames that have a change waiting

    def close(self) -> None:
        self._own.close()
        if self._base is not None:
            self._base.close()

    def run(self) -> Iterator[Change]:
        self._frames.append(_Frame(self._own, self._base, b"", self._whole, None))
        while self._frames:
            frame = self._frames[-1]
            found = self._next(frame)
            if found is None:
                self._leave()
                continue
            change, before = found
            now = change.status
            directory = now is not None and stat.S_ISDIR(now.st_mode)
            quiet = directory and self._is_quiet(change, before)
            if not quiet:
                if self._waiting:
                    yield from self._ancestors()
                yield change
            if directory:
                self._enter(frame, change, before, quiet)

    def _ancestors(self) -> Iterator[Change]:
        """Directories that have changed because something in them has."""
        for frame, dirfd in zip(self._frames[1:], self._own.down()):
            if frame.waiting is not None:
                waiting, frame.waiting = frame.waiting, None
                self._waiting -= 1
                yield waiting._replace(dirfd=dirfd)

    def _next(self, frame: _Frame) -> tuple[Change, os.stat_result | None] | None:
        """The next thing in this directory that has changed or is a directory, and what is below it."""
        own, base = self._own.fd, self._base.fd if self._base is not None and frame.based else -1
        for name in frame.gone:
            if frame.prefix + name not in _OWN:
                return Change(DELETED, frame.prefix + name, own, name, None), None
        for name in frame.names:
            path = frame.prefix + name
            now = paths.status(own, name)
            if now is None or path in _OWN:
                continue
            before = paths.status(base, name)
            if not self._whole and whiteout.is_whiteout(now):
                if before is not None:
                    return Change(DELETED, path, own, name, None), before
                continue
            if self._whole and before is not None and self._same_file(own, base, name, now, before):
                continue
            return Change(ADDED if before is None else MODIFIED, path, own, name, now), before
        return None

    def _is_quiet(self, change: Change, before: os.stat_result | None) -> bool:
        """A directory that looks as it did."""
        now = change.status
        return now is not None and before is not None and self._look(now) == self._look(before)

    def _enter(self, frame: _Frame, change: Change, before: os.stat_result | None, quiet: bool) -> None:
        if len(change.path) > self._longest or not self._own.enter(change.name):
            return
        base = self._base if before is not None and stat.S_ISDIR(before.st_mode) else None
        if base is not None and not base.enter(change.name):
            base = None
        full = frame.full or self._whole or xattr.is_opaque_at(self._own.fd, b".")
        self._waiting += quiet
        self._frames.append(_Frame(self._own, base, change.path + b"/", full, change if quiet else None))

    def _leave(self) -> None:
        """Up one level; further, when the container has moved what is above."""
        depth = self._own.leave() if len(self._frames) > 1 else -1
        while len(self._frames) > depth + 1:
            frame = self._frames.pop()
            self._waiting -= frame.waiting is not None
            if frame.based and self._base is not None and self._frames:
                for lost in self._frames[self._base.leave() + 1 :]:
                    lost.based = False

    def _look(self, status: os.stat_result) -> tuple[int, int, int]:
        return status.st_mode, *self._owners.inside(status.st_uid, status.st_gid)

    def _same_file(self, own: int, base: int, name: bytes, now: os.stat_result, before: os.stat_result) -> bool:
        if stat.S_ISDIR(now.st_mode) or self._look(now) != self._look(before):
            return False
        if now.st_rdev != before.st_rdev or now.st_size != before.st_size:
            return False
        if stat.S_ISLNK(now.st_mode):
            return _link(own, name) == _link(base, name)
        return now.st_mtime_ns == before.st_mtime_ns


def _link(dirfd: int, name: bytes) -> bytes | None:
    try:
        return os.readlink(name, dir_fd=dirfd)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):  # exchanged for something else meanwhile
            return None
        raise
