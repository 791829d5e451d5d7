"""Whole trees, on directory descriptors: remove, walk, measure. How deep a tree is and how many things are in it is up
to what made it: nothing recurses, few descriptors are open, and no list of all names is made where order is no matter.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from corten.kernel import paths
from corten.layers.directory_stack import DIRECTORY, DirectoryStack, Name, open_directory

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_directory"]

_PIECE = 10_000
_PASSES = 3  # over what is being removed while something still makes files in it


def every_directory(
    top: int,
    read: Callable[[int], list[str]],
    left: Callable[[int, Name], None] | None = None,
    opener: Callable[[Name, int], int] = open_directory,
) -> None:
    """`read(fd)` for the directory `top` and for each one that a `read` names, to any depth.

    `left(fd, name)` once everything below `name` in the directory `fd` has been read. What vanishes, or is moved away
    while it is read, is left out.
    """
    stack = DirectoryStack(top, opener)
    try:
        waiting, names = [read(stack.fd)], list[Name]()
        while True:
            if waiting[-1]:
                below = waiting[-1].pop()
                if stack.enter(below):
                    names.append(below)
                    waiting.append(read(stack.fd))
                continue
            if not names:
                return
            depth, name = stack.leave(), names.pop()
            whole = depth == len(names)
            del waiting[depth + 1 :], names[depth:]
            if whole and left is not None:
                left(stack.fd, name)
    finally:
        stack.close()


# ---------------------------------------------------------------------------------------------------------- removing


def remove(dirfd: int, name: bytes, enough: Callable[[], bool] | None = None) -> bool:
    """`rm -rf NAME` in `dirfd`. Does nothing when it is absent.

    What is mounted in it is not entered (OSError EXDEV, EBUSY). All that can be removed is, then the first error is
    raised; its text has the name of what stays. `enough` is asked after each thing that has been removed: when it says
    so the answer is False, and the next call goes on, however deep what is left may be.
    """
    try:
        os.unlink(name, dir_fd=dirfd)
        return True
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
    for _ in range(_PASSES):
        removal = _Removal(enough)
        try:
            removal.empty(dirfd, name)
            os.rmdir(name, dir_fd=dirfd)
            return True
        except _Enough:
            return False
        except FileNotFoundError:
            return True
        except OSError as error:
            removal.failed(error, name)
        if removal.error is not None and removal.error.errno != errno.ENOTEMPTY:
            break
    assert removal.error is not None
    raise removal.error


def erase(path: Path) -> None:
    """`rm -rf PATH`, as `remove`: also a tree that is deeper than `shutil.rmtree` gets, which calls itself for each
    directory."""
    above = open_directory(os.fsencode(path.parent))
    try:
        remove(above, os.fsencode(path.name))
    finally:
        os.close(above)


class _Enough(Exception):
    """What removes a tree gives way to something else."""


class _Removal:
    """One pass over what is in a directory. `error` is the first that was met."""

    def __init__(self, enough: Callable[[], bool] | None) -> None:
        self.error: OSError | None = None
        self._enough = enough

    def _removed(self) -> None:
        if self._enough is not None and self._enough():
            raise _Enough

    def empty(self, dirfd: int, name: bytes) -> None:
        try:
            top = _on_same_mount(name, dirfd)
        except OSError as error:
            self.failed(error, name)
            return
        try:
            every_directory(top, self._unlink, self._rmdir, self._enter)
        finally:
            os.close(top)

    def failed(self, error: OSError, name: Name) -> None:
        if self.error is None and error.errno != errno.ENOENT:
            self.error = OSError(error.errno, f"{error.strerror}: {os.fsdecode(name)[:255]!r}")

    def _unlink(self, fd: int) -> list[str]:
        """Everything in `fd` but its directories, which are the answer."""
        below: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                    continue
                try:
                    os.unlink(entry.name, dir_fd=fd)
                except IsADirectoryError:
                    below.append(entry.name)
                except OSError as error:
                    self.failed(error, entry.name)
                else:
                    self._removed()
        return below

    def _rmdir(self, fd: int, name: Name) -> None:
        try:
            os.rmdir(name, dir_fd=fd)
        except OSError as error:
            self.failed(error, name)
        else:
            self._removed()

    def _enter(self, name: Name, dirfd: int) -> int:
        try:
            return _on_same_mount(name, dirfd)
        except OSError as error:
            self.failed(error, name)
            raise FileNotFoundError(errno.ENOENT, "not entered") from error


def _on_same_mount(name: Name, dirfd: int) -> int:
    return paths.openat2(dirfd, name, DIRECTORY, 0, paths.RESOLVE_NO_XDEV | paths.RESOLVE_NO_MAGICLINKS)


# ----------------------------------------------------------------------------------------------------------- walking


class Found(NamedTuple):
    """One thing in a walk: the directory it is in (open during the step only), its name, its path, its lstat(2)."""

    dirfd: int
    name: bytes
    path: bytes
    status: os.stat_result


def names(fd: int) -> list[bytes]:
    """What is in a directory, sorted. `fd` may not be read by others meanwhile: they share its position."""
    found: list[Any] = os.listdir(fd)
    for at in range(0, len(found), _PIECE):  # all at once would have a million names in memory twice
        found[at : at + _PIECE] = map(os.fsencode, found[at : at + _PIECE])
    found.sort()
    return found


def walk(top: int, longest: int = sys.maxsize, opener: Callable[[Name, int], int] = open_directory) -> Iterator[Found]:
    """Everything below `top`, each directory before what is in it, names sorted, links not followed.

    Things that vanish meanwhile are left out. Directories whose path is longer than `longest` bytes are not entered,
    nor those for which `opener` raises FileNotFoundError.
    """
    stack = DirectoryStack(top, opener)
    try:
        frames = [(b"", iter(names(stack.fd)))]
        while frames:
            prefix, waiting = frames[-1]
            name = next(waiting, None)
            if name is None:
                frames.pop()
                if frames:
                    del frames[stack.leave() + 1 :]
                continue
            try:
                status = os.stat(name, dir_fd=stack.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            path = prefix + name
            yield Found(stack.fd, name, path, status)
            if stat.S_ISDIR(status.st_mode) and len(path) <= longest and stack.enter(name):
                frames.append((path + b"/", iter(names(stack.fd))))
    finally:
        stack.close()


# --------------------------------------------------------------------------------------------------------- measuring


def count(top: int, add: Callable[[os.stat_result], None]) -> None:
    """`add(lstat(2))` for everything below `top`, in no order. What vanishes meanwhile is left out.

    A tree that grows while it is counted cannot make this go on for ever: see `_Room`.
    """
    room = _Room()

    def read(fd: int) -> list[str]:
        below: list[str] = []
        if not room.admits(fd):
            return below
        with os.scandir(fd) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                add(status)
                if stat.S_ISDIR(status.st_mode):
                    below.append(entry.name)
        return below

    every_directory(top, read)


class _Room:
    """How many directories may be entered: as many as each file system had inodes in use when it was met."""

    def __init__(self) -> None:
        self._left = 0
        self._devices: set[int] = set()

    def admits(self, fd: int) -> bool:
        device = os.fstat(fd).st_dev
        if device not in self._devices:
            self._devices.add(device)
            inodes = os.fstatvfs(fd)
            self._left += inodes.f_files - inodes.f_ffree or sys.maxsize  # btrfs does not count them
        self._left -= 1
        return self._left >= 0


def usage(top: int) -> tuple[int, int]:
    """(apparent size in bytes, inodes) below `top`; a file with several links counts once, a directory's own bytes do
    not, as in dockerd's sizes: a container that wrote nothing has 0. `measure.measure` counts what is allocated."""
    seen: set[tuple[int, int]] = set()
    total = inodes = 0

    def add(status: os.stat_result) -> None:
        nonlocal total, inodes
        if not stat.S_ISDIR(status.st_mode):
            if status.st_nlink > 1:
                key = (status.st_dev, status.st_ino)
                if key in seen:
                    return
                seen.add(key)
            total += status.st_size
        inodes += 1

    count(top, add)
    return total, inodes
