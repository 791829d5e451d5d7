"""Files in memory (memfd_create(2)): for what another process is to have as a file."""

from __future__ import annotations

import os
from collections.abc import Iterable


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
