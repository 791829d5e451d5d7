"""Descriptors of a running container's tree: all of them, or none is left open."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from corten.engine.containers import tree

_NAMES = ("cgroup", "root", "ns/mnt", "ns/user")


def container() -> Any:
    """This process, as far as its control group goes."""
    with open("/proc/self/cgroup") as file:
        line = file.readline().strip()
    state = SimpleNamespace(running=True)
    return SimpleNamespace(id=line, task=SimpleNamespace(pid=os.getpid()), record=SimpleNamespace(state=state))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_all_of_them() -> None:
    before = descriptors()
    opened = tree._running(container())
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
            tree._running(container())
    assert descriptors() == before
