"""The directories from the top of a tree down to one in it, at any depth, on a bounded number of descriptors.

The lowest directories are held open. Those above are opened again on the way back: by `..`, which has to be the
directory that was entered from there; or, when it has been moved meanwhile, from the top by the names that led to it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HELD = 48  # directories held open at a time: more than most trees are deep
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)

Name = bytes | str
Open = Callable[[Name, int], int]


def open_directory(name: Name, dirfd: int | None = None) -> int:
    """A descriptor of directory `name`, which is one component when `dirfd` is given; links are not followed."""
    return os.open(name, DIRECTORY, dir_fd=dirfd)


class _Level:
    """A directory below the top. `fd` is -1 while it is not held open; `device` and `inode` are known by then."""

    __slots__ = ("device", "fd", "inode", "name")  # no dataclass: the launcher has this, see tests/unit/supervisor

    def __init__(self, name: Name, fd: int) -> None:
        self.name = name
        self.fd = fd
        self.device = 0
        self.inode = 0

    def release(self) -> None:
        status = os.fstat(self.fd)
        self.device, self.inode = status.st_dev, status.st_ino
        os.close(self.fd)
        self.fd = -1

    def is_at(self, fd: int) -> bool:
        status = os.fstat(fd)
        return (status.st_dev, status.st_ino) == (self.device, self.inode)


class DirectoryStack:
    """`fd` is the lowest directory: good until the next `enter` or `leave`. `top` stays the caller's.

    stack = DirectoryStack(top)
    try:
        if stack.enter(b"etc"):
            os.listdir(stack.fd)
            stack.leave()
    finally:
        stack.close()
    """

    def __init__(self, top: int, opener: Open = open_directory) -> None:
        self._open = opener
        self._top = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top)
        self._levels: list[_Level] = []
        self.fd = self._top

    def enter(self, name: Name) -> bool:
        """Down into `name`; False when it is no directory (any more)."""
        try:
            fd = self._open(name, self.fd)
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise
        self._levels.append(_Level(name, fd))
        self.fd = fd
        if len(self._levels) > _HELD and self._levels[-1 - _HELD].fd >= 0:
            self._levels[-1 - _HELD].release()
        return True

    def leave(self) -> int:
        """Up to the directory above. Answers how many levels below the top that is: fewer than one less when those
        above do not exist any more, and the stack ends at the lowest one that does."""
        below = self._levels.pop()
        try:
            if self._levels and self._levels[-1].fd < 0 and not self._up(below.fd, self._levels[-1]):
                self._again()
        finally:
            os.close(below.fd)
        self.fd = self._levels[-1].fd if self._levels else self._top
        return len(self._levels)

    def _up(self, below: int, level: _Level) -> bool:
        """Open `level` by the `..` of what was entered from it."""
        try:
            fd = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=below)
        except OSError:  # moved to where a confined process may not look
            return False
        if level.is_at(fd):
            level.fd = fd
            return True
        os.close(fd)
        return False

    def _again(self) -> None:
        """From the top down, as far as everything is where it was."""
        here = os.dup(self._top)
        for number, level in enumerate(self._levels):
            below = self._same(here, level)
            if below < 0:
                del self._levels[number:]
                break
            os.close(here)
            here = below
        if self._levels:
            self._levels[-1].fd = here
        else:
            os.close(here)

    def _same(self, above: int, level: _Level) -> int:
        """A descriptor of `level` in the directory `above`; -1 when something else, or nothing, has its name."""
        try:
            fd = self._open(level.name, above)
        except OSError as error:
            if error.errno in _GONE:
                return -1
            raise
        if level.is_at(fd):
            return fd
        os.close(fd)
        return -1

    def down(self) -> Iterator[int]:
        """Descriptors of the directories from the top to the lowest one, each good until the next. Ends early where
        one does not exist any more."""
        here, own = self._top, False
        try:
            yield here
            for level in self._levels:
                below = level.fd if level.fd >= 0 else self._same(here, level)
                if own:
                    os.close(here)
                here, own = below, level.fd < 0 <= below
                if here < 0:
                    return
                yield here
        finally:
            if own:
                os.close(here)

    def close(self) -> None:
        for level in self._levels:
            if level.fd >= 0:
                os.close(level.fd)
        self._levels.clear()
        os.close(self._top)
