"""Children in control groups, for the cases. Plain Python, no pytest: a guest has the standard library only."""

from __future__ import annotations

import mmap
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from corten.kernel import cgroupfs, process
from corten.runtime import cgroups
from corten.runtime.cgroups import Cgroup, Layout

Work = Callable[[], Any]
MB = 1 << 20


class Lacking(Exception):
    """This machine cannot show it; the text says why."""


@contextmanager
def group(layout: Layout, path: str, resources: dict[str, Any] | None = None) -> Iterator[Cgroup]:
    made = cgroups.create(layout, path, resources)
    try:
        yield made
    finally:
        made.kill()
        made.remove()


def start(made: Cgroup, work: Work) -> int:
    """A child that is in the group and does `work`; its exit status is 0, or 99 when work raised."""
    reader, writer = os.pipe()
    pid, pidfd = process.clone3(0, made.fd or 0)
    if pid:
        os.close(pidfd)
        os.close(writer)
        os.read(reader, 1)  # of version 1 it enters the groups itself
        os.close(reader)
        return pid
    status = 99
    try:
        made.enter_self(unified=made.fd is None)
        os.close(reader)
        os.close(writer)
        work()
        status = 0
    finally:
        os._exit(status)


def inside(made: Cgroup, work: Work) -> int:
    """Do `work` in the group; the status as waitpid gives it, as a code (negative: signal)."""
    return os.waitstatus_to_exitcode(os.waitpid(start(made, work), 0)[1])


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        select.select([], [], [], 0.005)


def text(made: Cgroup, controller: str, file: str) -> str:
    return cgroupfs.read(made.directory(controller), file).strip()


def is2(layout: Layout, controller: str) -> bool:
    hierarchy = layout.of(controller)
    if hierarchy is None:
        raise Lacking(f"no {controller} controller")
    return hierarchy.version == 2


def sleep_forever() -> None:
    while True:
        signal.pause()


def fill(size: int) -> None:
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, size, 4096):
        area[at] = 1


def spin() -> None:
    while True:
        pass


def burn(seconds: float) -> None:
    """Use that much of a processor, however long it takes."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def expect(have: object, want: object) -> None:
    assert have == want


DOCKER_DEVICES = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
]
