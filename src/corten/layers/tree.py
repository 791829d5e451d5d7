"""Whole trees, on directory descriptors: remove, walk, measure. Depth is the tree's own choice, so nothing recurses."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEP = 64  # directories held open at a time


def open_directory(name: bytes | str, dirfd: int | None = None) -> int:
    """A descriptor of directory `name`, which is one component when `dirfd` is given; links are not followed."""
    return os.open(name, _DIRECTORY, dir_fd=dirfd)


def remove(dirfd: int, name: bytes) -> None:
    """`rm -rf NAME` in `dirfd`, mount points excepted (OSError EBUSY). Does nothing when it is absent."""
    try:
        os.unlink(name, dir_fd=dirfd)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
    top = open_directory(name, dirfd)
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=dirfd)


def _empty(top: int) -> None:
    """Remove what is in `top`. What lies deeper than a bound is moved up into `top` first, so any depth will do."""
    moved = 0
    while True:
        stack: list[tuple[int, bytes, Iterator[bytes]]] = [(top, b"", iter(_names(top)))]
        try:
            while stack:
                fd, own, names = stack[-1]
                below = _unlink_until_directory(fd, names)
                if below is None:
                    stack.pop()
                    if stack:
                        os.close(fd)
                        os.rmdir(own, dir_fd=stack[-1][0])
                elif len(stack) < _DEEP:
                    child = open_directory(below, fd)
                    stack.append((child, below, iter(_names(child))))
                else:
                    moved += 1
                    os.rename(below, b".deep-%d-%d" % (os.getpid(), moved), src_dir_fd=fd, dst_dir_fd=top)
        finally:
            for fd, _, _ in stack[1:]:
                os.close(fd)
        if not _names(top):
            return


def _names(fd: int) -> list[bytes]:
    # Through a new description: scanning moves the position, and a descriptor may be scanned twice.
    own = os.open(".", _DIRECTORY, dir_fd=fd)
    try:
        return [os.fsencode(name) for name in os.listdir(own)]
    finally:
        os.close(own)


def _unlink_until_directory(fd: int, names: Iterator[bytes]) -> bytes | None:
    for name in names:
        try:
            os.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            continue
        except IsADirectoryError:
            return name
    return None


class Found(NamedTuple):
    """One thing in a walk: the directory it is in (open during the step only), its name, its path, its lstat(2)."""

    dirfd: int
    name: bytes
    path: bytes
    status: os.stat_result


def walk(top: int, max_depth: int = 512) -> Iterator[Found]:
    """Everything below `top`, each directory before what is in it, names sorted, links not followed.

    Things that vanish meanwhile are left out. OSError(ELOOP) beyond `max_depth` directories.
    """
    stack: list[tuple[int, bytes, Iterator[bytes]]] = [(top, b"", iter(sorted(_names(top))))]
    try:
        while stack:
            fd, prefix, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                if stack:
                    os.close(fd)
                continue
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Found(fd, name, prefix + name, status)
            if stat.S_ISDIR(status.st_mode):
                if len(stack) > max_depth:
                    raise OSError(errno.ELOOP, f"directories deeper than {max_depth}")
                try:
                    child = open_directory(name, fd)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                stack.append((child, prefix + name + b"/", iter(sorted(_names(child)))))
    finally:
        for fd, _, _ in stack[1:]:
            os.close(fd)


def usage(top: int) -> tuple[int, int]:
    """(bytes as files measure, inodes) below `top`; a file with several links counts once, a directory's own bytes do
    not, as in dockerd's sizes: a container that wrote nothing has 0. `measure.measure` tells what is allocated."""
    seen: set[tuple[int, int]] = set()
    total = count = 0
    for found in walk(top):
        status = found.status
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        total += 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        count += 1
    return total, count
