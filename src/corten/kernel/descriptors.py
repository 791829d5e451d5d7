"""Descriptors as paths, for calls that take nothing else: xattr(7) before Linux 6.13, chmod(2) of what is held by
O_PATH alone, and opening what was looked at first.

The paths lead through /proc/self/fd, whose links are magic (proc(5)): each is the very thing that is held, whatever has
become of its name. A process that leaves the host's tree has no /proc, or none that it may believe: it takes that one
directory along, as its current one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from corten.kernel import mount
from corten.kernel import syscall as sys

_directory = b"/proc/self/fd"  # one for the process, as its root is; changed only where there is a single thread


def path(fd: int) -> bytes:
    """A path of what `fd` is. Calls must follow it; a symbolic link held by O_PATH is not followed any further."""
    return b"%s/%d" % (_directory, fd)


def path_in(fd: int, name: bytes) -> bytes:
    """A path of `name`, one component, in the directory `fd`; never to be followed."""
    return b"%s/%d/%s" % (_directory, fd, name)


def hold() -> int:
    """A descriptor of this process's /proc/self/fd, as a mount of its own, so that `..` does not lead out of it."""
    return mount.clone(sys.AT_FDCWD, "/proc/self/fd")


def enter(directory: int) -> None:
    """Make `directory`, from `hold`, the current directory, and let paths lead through it from now on."""
    global _directory
    os.fchdir(directory)
    _directory = b"."


@contextmanager
def through(directory: int) -> Iterator[None]:
    """The same for the length of a block."""
    global _directory
    before, back = _directory, os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        enter(directory)
        yield
    finally:
        _directory = before
        os.fchdir(back)
        os.close(back)
