"""Which way a container's tree is worked on. What is done in it: tests/contract and tests/e2e/test_images_trees.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from corten.engine.containers import start as container_start
from corten.engine.containers import wait as container_wait
from corten.engine.containers.container import Container
from corten.errors import Corrupt, NotFound, Unsupported
from corten.instance.contract import Export, Fetch, Look, Put, TreeRequest
from corten.spec.json import Json
from corten.tasks.contract import TreeWork
from docker_json import create
from fakes.engine import PlainEngine
from fakes.program import end_programs
from fakes.runtime import FakeTask


class Recorder:
    """`TreeWork` that knows what it was asked, and nothing of a path "/gone"."""

    def __init__(self) -> None:
        self.asked: list[tuple[TreeRequest, Json, Sequence[int]]] = []
        self.poured = b""

    async def ask(self, request: TreeRequest, where: Json | None = None, fds: Sequence[int] = ()) -> Json:
        self.asked.append((request, where or {}, fds))
        if request == Look("/gone"):
            raise NotFound("Could not find the file /gone in container")
        return {"name": "found"}

    @asynccontextmanager
    async def stream(
        self, request: TreeRequest, where: Json | None = None, fds: Sequence[int] = ()
    ) -> AsyncIterator[tuple[Json, AsyncIterator[bytes]]]:
        yield await self.ask(request, where, fds), pieces(b"data")

    async def pour(
        self, request: TreeRequest, data: AsyncIterator[bytes], where: Json | None = None, fds: Sequence[int] = ()
    ) -> Json:
        self.poured = b"".join([piece async for piece in data])
        return await self.ask(request, where, fds)


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[PlainEngine]:
    engine = PlainEngine(tmp_path)
    yield engine
    await end_programs()
    await engine.close()


async def guest(engine: PlainEngine, monkeypatch: pytest.MonkeyPatch) -> tuple[Container, Recorder]:
    """A container that runs, whose tree the host has no descriptor of."""
    container, _ = await create(engine, {"Image": "test", "Cmd": ["sleep", "60"]}, name="box")
    await container_start.start(engine.containers, container)
    recorder = Recorder()

    def trees(task: FakeTask) -> TreeWork:
        return recorder

    def open_tree(task: FakeTask) -> tuple[int, ...]:
        raise Unsupported("a guest has its tree for itself")

    monkeypatch.setattr(FakeTask, "trees", trees)
    monkeypatch.setattr(FakeTask, "open_tree", open_tree)
    return container, recorder


async def test_by_its_supervisor_where_the_host_cannot(engine: PlainEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    container, recorder = await guest(engine, monkeypatch)
    assert await engine.trees.look(container, "/a") == {"name": "found"}
    async with engine.trees.fetch(container, "/b") as (found, data):
        assert found == {"name": "found"} and [piece async for piece in data] == [b"data"]
    await engine.trees.put(container, "/c", pieces(bytes(1024)), strict=True, owners=False)
    async with engine.trees.export(container) as data:
        assert [piece async for piece in data] == [b"data"]
    assert recorder.asked == [(r, {}, ()) for r in (Look("/a"), Fetch("/b"), Put("/c", True, ""), Export())]
    assert recorder.poured == bytes(1024) and not container.lock.locked()
    with pytest.raises(NotFound, match="/gone in container box"):
        await engine.trees.look(container, "/gone")


async def test_what_is_no_list_of_changes_does_not_come_from_a_guest(
    engine: PlainEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its agent may have been replaced, and clients of the API read what comes as JSON of Docker's."""
    container, _ = await guest(engine, monkeypatch)
    container.record.host_config = container.record.host_config.replace(isolation="vm")
    async with engine.trees.changes(container) as data:
        with pytest.raises(Corrupt, match="no list of changes"):
            assert [piece async for piece in data] == []


async def test_by_a_helper_when_it_has_ended(engine: PlainEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    container, recorder = await guest(engine, monkeypatch)
    assert container.task is not None
    ending = container_wait.future(container, "not-running")
    await container.task.signal(9)
    await ending
    monkeypatch.setattr(engine.trees, "_work", helpers := Recorder())
    await engine.trees.look(container, "/a")
    (asked,) = helpers.asked
    assert asked[0] == Look("/a") and "rootfs" in asked[1] and not recorder.asked
