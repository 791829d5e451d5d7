"""What a container has changed: its own tree against the one it stands on.

With overlay the own tree is the upper directory, where everything that is there was touched; with the copying driver
(`whole`) it is all files, and those that differ were touched.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from corten.kernel import xattr
from corten.layers import tree, whiteout
from corten.layers.owners import AS_THEY_ARE, Owners

MODIFIED, ADDED, DELETED = 0, 1, 2  # as Docker's API numbers them
_MAX_DEPTH = 500
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
    """A directory of the own tree, and the same one below (-1: none). `full`: what is below shows through nowhere."""

    def __init__(self, fd: int, base: int, prefix: bytes, full: bool, waiting: Change | None) -> None:
        self.fd = fd
        self.base = base
        self.prefix = prefix
        self.full = full
        self.waiting = waiting
        own = _names(fd)
        self.names = iter(sorted(own))
        self.gone = iter(sorted(_names(base) - own) if full and base >= 0 else [])

    def close(self) -> None:
        for fd in (self.fd, self.base):
            if fd >= 0:
                os.close(fd)


def changes(own: int, base: int | None, whole: bool = False, owners: Owners = AS_THEY_ARE) -> Iterator[Change]:
    """Every change, each directory before what is in it. A directory counts when something in it does, or itself.

    `base` is the tree below as containers see it (None: there is none). The descriptors stay the caller's. `owners`
    says whose things are in the container: those of its own tree may have other ids on the disk.
    """
    stack = [_Frame(_again(own), _again(base) if base is not None else -1, b"", whole, None)]
    try:
        while stack:
            frame = stack[-1]
            change, below = _next(frame, whole, owners)
            if change is not None:
                yield from _ancestors(stack)
                yield change
            if below is not None:
                if len(stack) > _MAX_DEPTH:
                    below.close()
                    raise OSError(40, f"directories deeper than {_MAX_DEPTH}")
                stack.append(below)
            elif change is None:
                stack.pop().close()
    finally:
        for frame in stack:
            frame.close()


def _ancestors(stack: list[_Frame]) -> Iterator[Change]:
    for frame in stack:
        if frame.waiting is not None:
            waiting, frame.waiting = frame.waiting, None
            yield waiting


def _next(frame: _Frame, whole: bool, owners: Owners) -> tuple[Change | None, _Frame | None]:
    """The next change in this directory, and the directory to enter; (None, None) at its end."""
    for name in frame.gone:
        if frame.prefix + name not in _OWN:
            return Change(DELETED, frame.prefix + name, frame.fd, name, None), None
    for name in frame.names:
        path = frame.prefix + name
        try:
            now = os.stat(name, dir_fd=frame.fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if path in _OWN:
            continue
        before = _status(frame.base, name)
        if not whole and whiteout.is_whiteout(now):
            if before is not None:
                return Change(DELETED, path, frame.fd, name, None), None
            continue
        change = Change(ADDED if before is None else MODIFIED, path, frame.fd, name, now)
        if stat.S_ISDIR(now.st_mode):
            return _enter(frame, change, before, whole, owners)
        if not whole or before is None or not _same_file(frame, name, now, before, owners):
            return change, None
    return None, None


def _enter(
    frame: _Frame, change: Change, before: os.stat_result | None, whole: bool, owners: Owners
) -> tuple[Change | None, _Frame | None]:
    now = change.status
    assert now is not None
    both = before is not None and stat.S_ISDIR(before.st_mode)
    quiet = both and before is not None and _look(before, owners) == _look(now, owners)
    full = frame.full or whole or xattr.is_opaque_at(frame.fd, change.name)
    fd = tree.open_directory(change.name, frame.fd)
    base = tree.open_directory(change.name, frame.base) if both else -1
    below = _Frame(fd, base, change.path + b"/", full, change if quiet else None)
    return (None if quiet else change), below


def _look(status: os.stat_result, owners: Owners) -> tuple[int, int, int]:
    return status.st_mode, *owners.inside(status.st_uid, status.st_gid)


def _same_file(frame: _Frame, name: bytes, now: os.stat_result, before: os.stat_result, owners: Owners) -> bool:
    if _look(now, owners) != _look(before, owners) or now.st_rdev != before.st_rdev or now.st_size != before.st_size:
        return False
    if stat.S_ISLNK(now.st_mode):
        return os.readlink(name, dir_fd=frame.fd) == os.readlink(name, dir_fd=frame.base)
    return now.st_mtime_ns == before.st_mtime_ns


def _status(dirfd: int, name: bytes) -> os.stat_result | None:
    if dirfd < 0:
        return None
    try:
        return os.stat(name, dir_fd=dirfd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _again(fd: int) -> int:
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)


def _names(fd: int) -> set[bytes]:
    if fd < 0:
        return set()
    own = _again(fd)  # scanning moves the position of a descriptor
    try:
        return {os.fsencode(name) for name in os.listdir(own)}
    finally:
        os.close(own)
