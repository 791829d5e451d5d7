"""Copying a tree onto another one: hard links, holes, owners, attributes and times are kept.

Others may be at work in both: the tree of a container, a volume that containers have. So every step is (directory
descriptor, one component), what is read was looked at first, and what was made is held until it has its owner and its
mode. What another process has put in a thing's place meanwhile is left alone. Depth is the tree's own choice:
nothing recurses, and a bounded number of directories is open.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from corten.kernel import paths, xattr
from corten.layers import attributes, leaf, tree, whiteout

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HELD = 64  # levels whose directories stay open; further up, the way back is `..`
_COMPONENTS = 15  # of at most 255 bytes: what fits into the 4096 of a path
_NO_LINK = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.EXDEV, errno.EPERM)

Owner = Callable[[int, int], tuple[int, int]]


def same(uid: int, gid: int) -> tuple[int, int]:
    """Owners as they are."""
    return uid, gid


def fill(source: int, target: int, owner: Owner = same) -> None:
    """Copy what is in the directory `source` into the empty one `target`, and how `source` itself looks.

    `owner` says whose things become. What others make in `target` meanwhile stays as they made it. Both descriptors may
    be O_PATH, and stay the caller's. Raises the kernel's OSError; ESTALE when a directory was moved that is deep in a
    tree.
    """
    _Copy(target, owner, over=False).run(source)


def merge(source: int, target: int) -> None:
    """Put the tree at `source`, which is in overlay's form, over the one at `target`: what it says is deleted is."""
    _Copy(target, same, over=True).run(source)


class _Place(NamedTuple):
    """Where a copy is: its name, and the directory above (None: the top)."""

    above: _Place | None
    name: bytes


class _Level:
    """A directory and its copy. Their descriptors are closed (-1) while the work is far below."""

    def __init__(self, source: int, target: int, place: _Place | None) -> None:
        self.source = source
        self.target = target
        self.place = place
        self.status = os.fstat(source)
        self._copy = os.fstat(target)
        self.names = os.listdir(source)

    def close(self) -> None:
        for fd in (self.source, self.target):
            if fd >= 0:
                os.close(fd)
        self.source = self.target = -1

    def reach_from(self, below: _Level) -> None:
        """Open both again, from a level below that is open."""
        self.source = _above(below.source, self.status)
        self.target = _above(below.target, self._copy)


class _Copy:
    def __init__(self, top: int, owner: Owner, over: bool) -> None:
        self._top = top
        self._owner = owner
        self._over = over
        self._links: dict[tuple[int, int], _Place] = {}  # the copies of files that have several names

    def run(self, source: int) -> None:
        levels: list[_Level] = [_opened(source, self._top, None)]
        try:
            while levels:
                level = levels[-1]
                below = self._next(level)
                if below is not None:
                    levels.append(below)
                    if len(levels) > _HELD:
                        levels[-_HELD - 1].close()
                    continue
                self._describe(level.target, level.source, level.status)
                levels.pop()
                if levels and levels[-1].source < 0:
                    levels[-1].reach_from(level)
                level.close()
        finally:
            for level in levels:
                level.close()

    def _next(self, level: _Level) -> _Level | None:
        """Copy what is in a directory, up to one in it that is to be entered; None at the end."""
        while level.names:
            name = os.fsencode(level.names.pop())
            try:
                below = self._thing(level, name)
            except FileNotFoundError:  # removed by others
                if self._over:
                    raise
                continue
            if below is not None:
                return below
        return None

    def _thing(self, level: _Level, name: bytes) -> _Level | None:
        seen = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=level.source)
        try:
            status = os.fstat(seen)
            if stat.S_ISDIR(status.st_mode):
                return self._directory(level, name, seen)
            if self._over:
                tree.remove(level.target, name)
                if whiteout.is_whiteout(status):
                    return None
            if not self._linked(level, name, status):
                leaf.copy(level.target, name, seen, status, self._describe)
            return None
        except FileExistsError:
            if self._over:
                raise
            return None  # made by others, and theirs
        finally:
            os.close(seen)

    def _directory(self, level: _Level, name: bytes, seen: int) -> _Level | None:
        into = level.target
        if self._over:
            self._make_way(into, name, seen)
        try:
            os.mkdir(name, 0o700, dir_fd=into)
        except FileExistsError:
            pass
        try:
            copy = tree.open_directory(name, into)
        except NotADirectoryError:
            if self._over:
                raise
            return None  # exchanged by others, and theirs
        try:
            return _opened(seen, copy, _Place(level.place, name))
        finally:
            os.close(copy)

    def _make_way(self, into: int, name: bytes, seen: int) -> None:
        """What is to be replaced by the directory `seen`, and not to be merged with it, is removed."""
        try:
            there = os.stat(name, dir_fd=into, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(there.st_mode) or xattr.is_opaque_at(seen, b"."):
            tree.remove(into, name)

    def _describe(self, made: int | bytes, model: int | bytes, status: os.stat_result) -> None:
        owner = self._owner(status.st_uid, status.st_gid)
        attributes.describe(made, status, owner, xattr.all_of(model))

    def _linked(self, level: _Level, name: bytes, status: os.stat_result) -> bool:
        """A further name of what was copied already becomes one, where that can be."""
        if status.st_nlink < 2:
            return False
        key = (status.st_dev, status.st_ino)
        first = self._links.get(key)
        if first is not None and _link(self._top, first, level.target, name):
            return True
        self._links[key] = _Place(level.place, name)
        return False


def _opened(source: int, target: int, place: _Place | None) -> _Level:
    reader = os.open(".", _DIRECTORY, dir_fd=source)
    try:
        writer = os.open(".", _DIRECTORY, dir_fd=target)
        try:
            return _Level(reader, writer, place)
        except BaseException:
            os.close(writer)
            raise
    except BaseException:
        os.close(reader)
        raise


def _above(fd: int, status: os.stat_result) -> int:
    above = os.open("..", _DIRECTORY, dir_fd=fd)
    now = os.fstat(above)
    if (now.st_dev, now.st_ino) != (status.st_dev, status.st_ino):
        os.close(above)
        raise OSError(errno.ESTALE, "a directory was moved while it was copied")
    return above


def _link(top: int, first: _Place, into: int, name: bytes) -> bool:
    """link(2) to the copy at `first`; False when it is there no more, or may have no further name."""
    try:
        above = _descend(top, first.above)
        try:
            os.link(first.name, name, src_dir_fd=above, dst_dir_fd=into, follow_symlinks=False)
        finally:
            os.close(above)
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    return True


def _descend(top: int, place: _Place | None) -> int:
    """An O_PATH descriptor of a directory below `top`; no link is followed."""
    names: list[bytes] = []
    while place is not None:
        names.append(place.name)
        place = place.above
    names.reverse()
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top)
    for at in range(0, len(names), _COMPONENTS):
        path = b"/".join(names[at : at + _COMPONENTS])
        try:
            below = paths.openat2(
                here, path, os.O_PATH | os.O_DIRECTORY, 0, paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
            )
        finally:
            os.close(here)
        here = below
    return here
