"""Descriptors of a running container's tree: all of them, or none is left open."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from corten.tasks.host import HostTask

_NAMES = ("cgroup", "root", "ns/mnt", "ns/user")


class Task(HostTask):
    """This process, as far as its control group goes."""

    def __init__(self) -> None:
        with open("/proc/self/cgroup") as file:
            self.id = file.readline().strip()
        self.pid = os.getpid()

    async def pids(self) -> list[int]:
        return [self.pid]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_all_of_them() -> None:
    before = descriptors()
    opened = Task().open_tree()
    assert len(opened) == 3 and descriptors() == before + 3
    for fd in opened:
        os.close(fd)


@pytest.mark.parametrize("short", _NAMES)
def test_none_when_one_cannot_be_had(monkeypatch: pytest.MonkeyPatch, short: str) -> None:
    before, really = descriptors(), os.open

    def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == short:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return really(path, flags, mode, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_)
        with pytest.raises(OSError, match="Too many open files"):
            Task().open_tree()
    assert descriptors() == before


def test_none_of_a_process_that_is_another_s() -> None:
    task = Task()
    task.id = "of another"
    before = descriptors()
    assert task.open_tree() == () and descriptors() == before
