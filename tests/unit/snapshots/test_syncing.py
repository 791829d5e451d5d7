"""No error of the disk is lost between what is written and what is called durable."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from pathlib import Path

import pytest

from corten.snapshots import syncing
from corten.snapshots.syncing import Syncing


class Disk:
    """As the kernel does: reports an error once to each descriptor that was open when it happened."""

    def __init__(self) -> None:
        self.fails_for: set[int] = set()

    def syncfs(self, fd: int) -> int:
        if fd not in self.fails_for:
            return 0
        self.fails_for.discard(fd)
        ctypes.set_errno(errno.EIO)
        return -1


def test_an_error_that_one_call_has_met_is_raised_by_all_that_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    monkeypatch.setattr(syncing, "_syncfs", disk.syncfs)
    with Syncing(tmp_path) as sync, Syncing(tmp_path) as other:
        sync()
        disk.fails_for |= {sync._fd, other._fd}
        for _ in range(3):
            with pytest.raises(OSError, match="syncfs") as raised:
                sync()
            assert raised.value.errno == errno.EIO
        with pytest.raises(OSError, match="syncfs"):
            other()
    with Syncing(tmp_path) as later:
        later()


def test_the_kernel_is_called_with_the_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Syncing(tmp_path) as sync:
        sync()
        with monkeypatch.context() as patch:
            patch.setattr(sync, "_fd", -1)
            with pytest.raises(OSError, match="syncfs") as raised:
                sync()
        assert raised.value.errno == errno.EBADF


def test_an_error_that_was_met_ahead_is_raised_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, calls = threading.Event(), threading.Event(), list[int]()

    def syncfs(fd: int) -> int:
        calls.append(fd)
        if len(calls) > 1:
            return 0  # the kernel has reported it
        begun.set()
        assert go_on.wait(60)
        ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(syncing, "_syncfs", syncfs)
    with Syncing(tmp_path) as sync:
        sync.ahead()
        assert begun.wait(60)
        threading.Timer(0.01, go_on.set).start()  # the call below waits for it
        with pytest.raises(OSError, match="syncfs") as raised:
            sync()
    assert raised.value.errno == errno.EIO and calls == calls[:1]


def test_what_is_synced_ahead_outlives_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, done, found = threading.Event(), threading.Event(), list[bool]()

    def syncfs(fd: int) -> int:
        assert left.wait(60)
        found.append(os.path.samestat(os.fstat(fd), os.stat(tmp_path)))
        done.set()
        return 0

    monkeypatch.setattr(syncing, "_syncfs", syncfs)
    with Syncing(tmp_path) as sync:
        sync.ahead()
    left.set()
    assert done.wait(60) and found == [True]
