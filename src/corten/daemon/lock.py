"""One daemon to a data root, and one to an exec root."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from corten.errors import Conflict


def lock(root: Path) -> int:
    """Take `root` for this process until it ends; the descriptor holds the lock.

    Raises Conflict when another process has it.


    flock(2) holds the inode, so another name for the same directory is no way around it; it goes with the process,
    so nothing has to be cleaned up after a crash.
    """
    fd = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, 32, 0).decode().strip() or "unknown"
        os.close(fd)
        raise Conflict(
            f"{root} is in use by another daemon (process {owner}); give this one roots of its own"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
