"""What a task of another machine needs registered with the kernel, held for as long as its supervisor is there."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from corten.kernel import binfmt
from corten.kernel import process as p
from corten.supervisor import clone


def hold(lines: Sequence[str], userns: str) -> int:
    """A descriptor that keeps `lines` registered: for the user namespace at the path `userns`, or for this process's.

    A user namespace's file system can only be mounted within it, by a process that has its mounts for itself. Before
    Linux 6.7 it cannot be: there is one for the machine.
    """
    if not userns:
        return binfmt.hold(lines)
    try:
        return _within(lines, userns)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
    return binfmt.hold(lines)


def _within(lines: Sequence[str], userns: str) -> int:

    def work(cloned: list[int]) -> clone.Answer:
        fd = os.open(userns, os.O_RDONLY | os.O_CLOEXEC)
        p.setns(fd, p.CLONE_NEWUSER)
        p.unshare(p.CLONE_NEWNS)
        return {"pid": 0}, [binfmt.hold(lines)]

    return clone.in_child(work)[1][0]
