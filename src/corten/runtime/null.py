"""The null device that a container gets: the node of its own /dev, not the host's.

Root in a container may change the mode, the owner and the times of every inode that it can name, also by a descriptor.
Were the host's node its standard input, or what its masked files are covered with, that would be /dev/null of the whole
host. runc does the same (reOpenDevNull, maskPaths), except for exec.

A container may have no null device, or something else in its place: a bind over /dev, a file of the image in a bundle
that mounts no /dev. Then a read-only mount of the host's node stands in: through such a mount nothing of an inode can
be changed (EROFS), while a device can still be read and written.
"""

from __future__ import annotations

import os
import stat

from corten.kernel import mount as m
from corten.kernel import paths
from corten.kernel import syscall as sys

OF_CONTAINER = -1  # in the place of a descriptor: the container's own null device

_NUMBER = os.makedev(1, 3)
_READ_ONLY = m.MOUNT_ATTR_RDONLY | m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NOEXEC


def is_null(fd: int) -> bool:
    """Whether `fd`, which may be O_PATH, is the null device itself."""
    status = os.fstat(fd)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _NUMBER


def not_the_caller_s(stdio: tuple[int, int, int]) -> tuple[int, int, int]:
    """`stdio` with OF_CONTAINER for each descriptor that is the caller's null device."""
    first, second, third = (OF_CONTAINER if is_null(fd) else fd for fd in stdio)
    return first, second, third


def filled_in(stdio: tuple[int, int, int], null: int) -> tuple[int, int, int]:
    """`stdio` with the descriptor `null` for each OF_CONTAINER."""
    first, second, third = (null if fd == OF_CONTAINER else fd for fd in stdio)
    return first, second, third


def open_in(root: int, descriptors: int) -> tuple[int, int]:
    """The null device inside `root`: (O_PATH, open for reading and writing); (-1, -1) when none is there to be opened.

    What else may be in its place is looked at by O_PATH and never opened, which for some devices is enough to act.
    `descriptors` is /proc/self/fd of the host's proc: a container may have none, or a directory of the image there.
    """
    try:
        node = paths.open_in(root, "dev/null")
    except OSError:  # also a loop of links, or a file where /dev should be: a container's own affair
        return -1, -1
    if is_null(node):
        try:
            return node, reopen(node, descriptors)
        except OSError:  # its mount is nodev
            pass
    os.close(node)
    return -1, -1


def reopen(node: int, descriptors: int) -> int:
    """The O_PATH descriptor or mount `node`, open for reading and writing."""
    return os.open(str(node), os.O_RDWR | os.O_CLOEXEC, dir_fd=descriptors)


def stand_in() -> int:
    """A detached, read-only mount of the host's node.

    CVE-2025-31133: it must be the device itself, not something put in its place. Raises OSError when it is not.
    """
    fd = read_only(m.clone(sys.AT_FDCWD, os.devnull))
    if not is_null(fd):
        os.close(fd)
        raise OSError(0, f"{os.devnull} is not the null device")
    return fd


def read_only(fd: int) -> int:
    """The detached mount `fd`, made read-only and private; closes it when that fails."""
    try:
        m.set_attributes(fd, _READ_ONLY, propagation=m.MS_PRIVATE)
    except OSError:
        os.close(fd)
        raise
    return fd


def open_of(pid: int) -> int:
    """The null device in the root of the process `pid`, or its stand-in, open for reading and writing.

    For callers outside of the container. They hold a pidfd of the process, or its number could be another's by now.
    """
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    descriptors = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        node, opened = open_in(root, descriptors)
    finally:
        os.close(root)
        os.close(descriptors)
    if node < 0:
        return open_stand_in()
    os.close(node)
    return opened


def open_stand_in() -> int:
    """The stand-in, open for reading and writing."""
    mount = stand_in()
    try:
        return paths.reopen(mount, os.O_RDWR)
    finally:
        os.close(mount)
