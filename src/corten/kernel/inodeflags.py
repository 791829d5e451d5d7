"""Flags of an inode (ioctl_iflags(2), chattr(1))."""

from __future__ import annotations

import fcntl
import struct

_GET, _SET = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS: declared with a long, spoken with an int
TOPDIR = 0x20000


def get(fd: int) -> int:
    """The inode flags of a file (chattr(1)). Raises OSError where the file system has none."""
    return int(struct.unpack("i", fcntl.ioctl(fd, _GET, bytes(4)))[0])


def set_top(directory: int, top: bool = True) -> bool:
    """Say that the subdirectories of `directory` have nothing to do with one another, as `chattr +T`, or take it back.

    ext4 then begins each in a part of the disk of its own, for which it looks at all parts: on a large disk that is ten
    times the work. False where the file system does not have it.
    """
    try:
        now = get(directory)
        fcntl.ioctl(directory, _SET, struct.pack("i", now | TOPDIR if top else now & ~TOPDIR))
    except OSError:
        return False
    return True
