"""The directory in memory where each step has its own: it is there while there are steps.

Where it lies in /dev/shm, other users of the machine can make a thing of its name first: that is not used.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from corten.errors import Forbidden


def make(top: Path, id: str) -> Path:
    """A directory for the step `id`, root's alone. Without an await between the two: see `leave`."""
    with suppress(FileExistsError):
        top.mkdir(mode=0o700)
    check(top)
    path = top / id
    path.mkdir(mode=0o700)
    return path


def check(top: Path) -> None:
    """Raises Forbidden for what is not ours, nothing for what is not there."""
    with suppress(FileNotFoundError):
        status = os.lstat(top)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise Forbidden(f"{top} can be changed by others than root: remove it")


def leave(top: Path) -> None:
    """After a step: with the last one it is gone."""
    with suppress(OSError):
        top.rmdir()
