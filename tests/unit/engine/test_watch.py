"""Watching directories: one inotify instance for all of an event loop."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from corten.engine.containers import watch
from corten.engine.containers.watch import DirectoryWatch
from corten.kernel import inotify


def instances() -> int:
    """Those of this process."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:inotify"
        except FileNotFoundError:  # that of the directory of descriptors itself
            continue
    return found


async def woken(*watches: DirectoryWatch) -> None:
    async with asyncio.timeout(60):
        await asyncio.gather(*[one.changed() for one in watches])


async def test_any_number_of_them_has_one_instance(tmp_path: Path) -> None:
    before = instances()
    directories = [tmp_path / str(number) for number in range(10)]
    with ExitStack() as held:
        watches = []
        for directory in directories:
            directory.mkdir()
            watches.append([held.enter_context(DirectoryWatch(directory)) for _ in range(20)])
        assert instances() == before + 1
        (directories[3] / "new").touch()
        await woken(*watches[3])
        others = [asyncio.ensure_future(one.changed()) for at, group in enumerate(watches) if at != 3 for one in group]
        await asyncio.sleep(0)
        assert not any(one.done() for one in others)
        for directory in directories:
            (directory / "log").touch()
        async with asyncio.timeout(60):
            await asyncio.gather(*others)
    assert instances() == before and not watch._instances


async def test_one_that_leaves_takes_nothing_from_the_others(tmp_path: Path) -> None:
    with DirectoryWatch(tmp_path) as stays:
        with DirectoryWatch(tmp_path), DirectoryWatch(tmp_path.parent):
            pass
        (tmp_path / "log").touch()
        await woken(stays)
        with DirectoryWatch(tmp_path) as later:
            (tmp_path / "log.1").touch()
            await woken(stays, later)


async def test_a_directory_that_goes_and_comes_again(tmp_path: Path) -> None:
    before, directory = instances(), tmp_path / "x"
    directory.mkdir()
    with DirectoryWatch(directory) as old:
        directory.rmdir()
        await woken(old)
        directory.mkdir()
        with DirectoryWatch(directory) as new:
            (directory / "log").touch()
            await woken(new)
    assert instances() == before


async def test_what_cannot_be_watched(tmp_path: Path) -> None:
    before = instances()
    with pytest.raises(FileNotFoundError), DirectoryWatch(tmp_path / "none"):
        raise AssertionError
    assert instances() == before and not watch._instances


async def test_events_that_were_lost_wake_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with DirectoryWatch(tmp_path / "a") as first, DirectoryWatch(tmp_path / "b") as second:
        changed = inotify.changed

        def lost(instance: int) -> set[int]:
            return {inotify.OVERFLOW} if changed(instance) else set()

        monkeypatch.setattr(inotify, "changed", lost)
        (tmp_path / "a" / "log").touch()
        await woken(first, second)
