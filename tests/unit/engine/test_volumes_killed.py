"""A daemon that is killed at any line of making, filling or removing a volume: it is whole, or not there at all."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from corten.engine import volume_places, volumes
from corten.engine.events import Events
from corten.engine.volumes import Volumes
from corten.errors import Unavailable
from corten.snapshots import trash
from corten.snapshots.trash import Trash
from fakes.table import MemoryTable

_WATCHED = (volume_places.__file__, volumes.__file__, trash.__file__)


class NoErasing(Trash):
    """Nothing goes on behind an answer: processes are forked here, and may not have threads."""

    def _later(self, name: object) -> None:
        return


@pytest.fixture(autouse=True)
def no_erasing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "Trash", NoErasing)


class FileTable(MemoryTable):
    """One record a file: written or not, like a transaction."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._root.mkdir(exist_ok=True)
        super().__init__()
        self.rows = {("volume", path.name): path.read_text() for path in root.iterdir()}

    def put(self, kind: str, id: str, body: dict[str, Any]) -> None:
        super().put(kind, id, body)
        (self._root / id).write_text(self.rows[kind, id])

    def delete(self, kind: str, id: str) -> None:
        super().delete(kind, id)
        (self._root / id).unlink(missing_ok=True)


def opened(root: Path) -> Volumes:
    return Volumes(root / "volumes", FileTable(root / "db"), Events())


def killed_at(line: int, root: Path, work: Callable[[Volumes], object]) -> bool:
    """Do `work` in a process that ends, as by SIGKILL, before its line number `line`; False when it has fewer."""
    pid = os.fork()
    if pid == 0:
        try:
            found = opened(root)
            sys.settrace(_Ends(line).trace)
            work(found)
            sys.settrace(None)
            os._exit(0)
        except BaseException:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 9)
    return code == 9


class _Ends:
    def __init__(self, line: int) -> None:
        self._left = line

    def trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename not in _WATCHED:
            return None
        if event == "line":
            self._left -= 1
            if self._left < 0:
                os._exit(9)
        return self.trace


def directories(root: Path) -> list[str]:
    return sorted(name for name in os.listdir(root / "volumes") if not name.startswith("."))


def places(root: Path) -> Iterator[Path]:
    """One root for each line at which to die, until the work has no more."""
    for number in range(1000):
        (root / str(number)).mkdir()
        yield root / str(number)


def test_create(tmp_path: Path) -> None:
    seen = set()
    for number, root in enumerate(places(tmp_path)):
        killed = killed_at(number, root, lambda found: found.create("data", labels={"a": "b"}))
        found = opened(root)
        names = [volume.name for volume in found.list()]
        assert names == (directories(root) if (root / "volumes").is_dir() else [])
        assert not (root / "volumes/.moving").is_dir() or os.listdir(root / "volumes/.moving") == []
        if names:
            assert stat.S_IMODE(os.stat(found.path("data")).st_mode) == 0o755
            assert found.get("data").labels == {"a": "b"}
        assert found.create("data").name == "data"  # either way there is one now
        seen.add((killed, bool(names)))
        if not killed:
            break
    assert seen == {(True, False), (True, True), (False, True)}


def test_remove(tmp_path: Path) -> None:
    seen = set()
    for number, root in enumerate(places(tmp_path)):
        found = opened(root)
        found.create("data")
        (found.path("data") / "file").write_text("kept\n")
        killed = killed_at(number, root, lambda found: found.remove("data"))
        found = opened(root)
        names = [volume.name for volume in found.list()]
        assert names == directories(root) and os.listdir(root / "volumes/.moving") == []
        assert not names or (found.path("data") / "file").read_text() == "kept\n"
        seen.add((killed, bool(names)))
        if not killed:
            break
    assert seen == {(True, False), (True, True), (False, False)}


async def two_files(directory: Path) -> bool:
    (directory / "one").write_text("1\n")
    (directory / "two").write_text("2\n")
    os.chmod(directory, 0o750)
    return True


def contents(found: Volumes) -> tuple[int, dict[str, str]]:
    path = found.path("data")
    return stat.S_IMODE(path.stat().st_mode), {file.name: file.read_text() for file in path.iterdir()}


def test_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "_WATCHED", (*_WATCHED, __file__))
    whole, seen = (0o750, {"one": "1\n", "two": "2\n"}), set()
    for number, root in enumerate(places(tmp_path)):
        opened(root).create("data")
        killed = killed_at(number, root, lambda found: asyncio.run(found.fill("data", "first", two_files)))
        found = opened(root)
        assert os.listdir(root / "volumes/.moving") == []
        assert contents(found) in (whole, (0o755, {}))
        seen.add((killed, contents(found) == whole))
        asyncio.run(found.fill("data", "second", two_files))  # either way the next container has it
        assert contents(found) == whole
        if not killed:
            break
    assert seen == {(True, False), (True, True), (False, True)}


async def test_fill_of_one_waits_for_no_other(tmp_path: Path) -> None:
    found, go = opened(tmp_path), asyncio.Event()
    for name in ("slow", "data"):
        found.create(name)

    async def slow(directory: Path) -> bool:
        await go.wait()
        return await two_files(directory)

    first = asyncio.create_task(found.fill("slow", "first", slow))
    await asyncio.sleep(0)
    await asyncio.wait_for(found.fill("data", "second", two_files), 60)
    assert contents(found)[1]
    waiting = asyncio.create_task(found.filled("slow"))
    await asyncio.sleep(0)
    assert not waiting.done() and os.listdir(found.path("slow")) == []
    go.set()
    await asyncio.wait_for(waiting, 60)
    assert len(os.listdir(found.path("slow"))) == 2
    await first


async def test_fill_that_fails_leaves_it_empty(tmp_path: Path) -> None:
    found = opened(tmp_path)
    found.create("data")

    async def fails(directory: Path) -> bool:
        await two_files(directory)
        raise Unavailable("disk full")

    with pytest.raises(Unavailable):
        await found.fill("data", "first", fails)
    assert contents(found) == (0o755, {}) and os.listdir(tmp_path / "volumes/.moving") == []


async def test_fill_of_a_shared_volume_is_in_place(tmp_path: Path) -> None:
    found = opened(tmp_path)
    found.create("data")
    found.hold("data", "has it mounted")
    mounted = os.open(found.path("data"), os.O_PATH)
    try:
        await found.fill("data", "first", two_files)
        assert sorted(os.listdir(f"/proc/self/fd/{mounted}")) == ["one", "two"]
    finally:
        os.close(mounted)


@pytest.mark.parametrize("step", ["put", "delete"])
def test_a_store_that_fails(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(tmp_path)
    found.create("old")

    def fails(*_: object) -> None:
        raise Unavailable("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(FileTable, step, fails)
        with pytest.raises(Unavailable):
            found.create("new") if step == "put" else found.remove("old")
    assert [volume.name for volume in found.list()] == directories(tmp_path) == ["old"]
    found.create("new")
    found.remove("old")
    assert [volume.name for volume in found.list()] == directories(tmp_path) == ["new"]
