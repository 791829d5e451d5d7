"""Descriptors of a process's places in /proc: for supervisors, and for the daemon's side of tasks."""

from __future__ import annotations

import os

_TREE = (("root", os.O_PATH | os.O_DIRECTORY), ("ns/mnt", os.O_RDONLY), ("ns/user", os.O_RDONLY))


def open_process(pid: int) -> int:
    """The directory of the process in /proc. FileNotFoundError. What is opened in it is this process's, or nothing's:
    ProcessLookupError when it has ended."""
    return os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def open_tree(process: int) -> tuple[int, int, int]:
    """Root, mount namespace and user namespace of the process with this directory; the caller closes them."""
    opened: list[int] = []
    try:
        for name, flags in _TREE:
            opened.append(os.open(name, flags | os.O_CLOEXEC, dir_fd=process))
    except OSError:
        for fd in opened:
            os.close(fd)
        raise
    root, mounts, user = opened
    return root, mounts, user
