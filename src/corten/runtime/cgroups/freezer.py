"""Stopping and continuing a whole group: v1's freezer.state, v2's cgroup.freeze.

Where both are there v1 is used: it is the one that other tools look at.
"""

from __future__ import annotations

import errno
import os
import select
import time

from corten.errors import Failed, Unsupported
from corten.kernel import cgroupfs
from corten.runtime.cgroups.knobs import NOWHERE

_DEADLINE = 10.0  # seconds; a process in an uninterruptible wait may take that long
_ROUND = 50  # looks before a v1 group is thawed and frozen anew


def freeze(first: int, unified: int | None, path: str) -> None:
    """`first` is the directory in v1's freezer tree or NOWHERE, `unified` that in the v2 tree."""
    try:
        if first != NOWHERE:
            _freeze_v1(first)
        elif unified is not None:
            _freeze_v2(unified)
        else:
            raise Unsupported("this machine has no freezer; the cgroup is not mounted")
    except TimeoutError:
        thaw(first, unified)  # half frozen is worse than not frozen
        raise Failed(f"control group {path} does not stop; a process waits in the kernel") from None


def thaw(first: int, unified: int | None) -> None:
    """Thawing what is not frozen, or has gone, does nothing."""
    try:
        if first != NOWHERE:
            cgroupfs.write(first, "freezer.state", "THAWED")
        elif unified is not None:
            cgroupfs.write(unified, "cgroup.freeze", 0)
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.ENOENT):
            raise


def frozen(first: int, unified: int | None) -> bool:
    if first != NOWHERE:
        return cgroupfs.read(first, "freezer.state").strip() == "FROZEN"
    return unified is not None and "frozen 1" in cgroupfs.read(unified, "cgroup.events")


def _freeze_v1(directory: int) -> None:
    """A v1 group stays at FREEZING when processes are forked in it meanwhile; writing again takes them in, and now
    and then only thawing helps."""
    deadline = time.monotonic() + _DEADLINE
    looks = 0
    while True:
        cgroupfs.write(directory, "freezer.state", "FROZEN")
        if cgroupfs.read(directory, "freezer.state").strip() == "FROZEN":
            return
        looks += 1
        if time.monotonic() > deadline:
            raise TimeoutError
        if looks % _ROUND == 0:
            cgroupfs.write(directory, "freezer.state", "THAWED")
        select.select([], [], [], 0.0001 if looks < _ROUND else 0.005)


def _freeze_v2(directory: int) -> None:
    """The kernel tells by cgroup.events, on which POLLPRI waits for a change since the last read."""
    events = os.open("cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        cgroupfs.write(directory, "cgroup.freeze", 1)
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        deadline = time.monotonic() + _DEADLINE
        while b"frozen 1" not in os.pread(events, 4096, 0):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            poll.poll(left * 1000)
    finally:
        os.close(events)
