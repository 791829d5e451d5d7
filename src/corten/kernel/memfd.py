"""Files in memory (memfd_create(2)): for what another process is to have as a file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable

from corten.kernel import syscall as sys

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2


def holding(name: str, pieces: Iterable[bytes]) -> int:
    """A descriptor of one with these pieces, one behind the other, at its begin. `name` is seen in /proc alone."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def empty(name: str, size: int = 0) -> int:
    """A descriptor of one that can be sealed: a hole of `size` bytes."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def seal(fd: int) -> None:
    """Nothing can change it from now on, by any descriptor. EBUSY while it is mapped to be written."""
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)


def seal_size(fd: int) -> None:
    """No process can make it shorter or longer from now on: what has it mapped gets no SIGBUS."""
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Give these bytes' memory back; they read as zeros (fallocate(2))."""
    sys.syscall("fallocate", sys.SYS_fallocate, fd, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, offset, length)
