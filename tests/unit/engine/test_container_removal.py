"""Removal of containers over the fake runtime: forced, automatic, and behind other work."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from corten.engine.containers import remove as container_remove
from corten.engine.containers import removed as container_removed
from corten.engine.containers import restart as container_restart
from corten.engine.containers import start as container_start
from corten.engine.containers import stop as container_stop
from corten.engine.containers import wait as container_wait
from corten.engine.engine import Engine
from corten.errors import Conflict, Failed, Invalid, NotFound, StartFailed
from corten.tasks.contract import Bundle, Exit, Stream, Task
from fakes.containers import ended, make, run, status
from fakes.engine import PlainEngine
from fakes.runtime import FakeTask


async def test_automatic_removal(engine: Engine) -> None:
    container = await make(engine, "sh", "-c", "exit 4", AutoRemove=True, Binds=["/anonymous"])
    removed = container_wait.future(container, "removed")
    await container_start.start(engine.containers, container)
    async with asyncio.timeout(60):
        assert (await removed).status == 4
    assert not engine.containers.by_id
    assert not engine.volumes.list()


async def test_the_code_of_what_removed_itself_is_kept_for_a_minute(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By id, the start of it, and name; of no other removal, and of no more than the last ones."""
    containers = engine.containers
    container = await make(engine, "sh", "-c", "exit 9", name="short", AutoRemove=True)
    removed = container_wait.future(container, "removed")
    await container_start.start(containers, container)
    assert (await asyncio.wait_for(removed, 60)).status == 9
    for reference in (container.id, container.id[:12], "short", "/short"):
        found = containers.get_ended(reference)
        assert isinstance(found, Exit) and found.status == 9
    other = await run(engine, "sh", "-c", "exit 4")
    await ended(other)
    assert containers.get_ended(other.id) is other
    await container_remove.remove(containers, other)
    for reference in (other.id, "", "unknown"):
        with pytest.raises((NotFound, Invalid)):
            containers.get_ended(reference)
    monkeypatch.setattr(container_removed, "MOST", 1)
    containers.removed.note("f" * 64, "youngest", Exit(3, 0.0))
    with pytest.raises(NotFound):
        containers.get_ended("short")
    monkeypatch.setattr(container_removed, "KEPT", 0.0)
    with pytest.raises(NotFound):
        containers.get_ended("youngest")


async def test_forced_removal_of_what_is_being_started(engine: PlainEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for nothing: what is being made may be a guest that never answers."""
    begun, killed = asyncio.Event(), asyncio.Event()

    async def create(bundle: Bundle, streams: Sequence[Stream] = ()) -> FakeTask:
        begun.set()
        await killed.wait()
        raise StartFailed("it was killed")

    async def end(bundle: Path) -> None:
        killed.set()

    monkeypatch.setattr(container_stop, "_REMOVAL_PATIENCE", 0.01)
    monkeypatch.setattr(engine.runtime, "create", create)
    monkeypatch.setattr(engine.runtime, "end", end)
    container = await make(engine)
    start = asyncio.ensure_future(container_start.start(engine.containers, container))
    await begun.wait()
    await container_remove.remove(engine.containers, container, force=True)
    with pytest.raises(StartFailed, match="it was killed"):
        await start
    assert container.gone


async def test_forced_removal_behind_a_start_that_is_completed(engine: PlainEngine) -> None:
    container = await make(engine, "sleep", "60")
    start = asyncio.ensure_future(container_start.start(engine.containers, container))
    await asyncio.sleep(0)  # it has the lock
    await container_remove.remove(engine.containers, container, force=True)
    await start
    assert container.gone


async def test_forced_removal_of_one_whose_files_a_client_reads(
    engine: PlainEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of `cp` that reads nothing holds the lock for as long as it likes."""
    monkeypatch.setattr(container_stop, "_REMOVAL_PATIENCE", 0.01)
    container = await make(engine)
    begun = asyncio.Event()

    async def copy() -> None:
        async with container.lock, container.lend():
            begun.set()
            await asyncio.Event().wait()

    copying = asyncio.ensure_future(copy())
    await begun.wait()
    await container_remove.remove(engine.containers, container, force=True)
    with pytest.raises(Conflict, match="is being removed"):
        await copying
    assert container.gone and not container.lent


async def test_a_time_limit_in_work_on_a_lent_container_is_its_own(engine: PlainEngine) -> None:
    container = await make(engine)
    with pytest.raises(TimeoutError):
        async with container.lend(), asyncio.timeout(0):
            await asyncio.Event().wait()


async def test_a_restart_is_no_end_to_automatic_removal(engine: Engine) -> None:
    """dockerd's: it is removed at its next end."""
    container = await run(engine, "sleep", "1000", AutoRemove=True)
    removed = container_wait.future(container, "removed")
    for _ in range(2):
        await container_restart.restart(engine.containers, container, 0)
        assert status(container) == "running" and not removed.done()
    await container_stop.stop(engine.containers, container, 0)
    assert (await asyncio.wait_for(removed, 60)).status == 143
    assert engine.events.history[-1]["Action"] == "destroy"


async def test_a_restart_that_cannot_start_it_again_removes_it(
    engine: PlainEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = await run(engine, "sleep", "1000", AutoRemove=True)

    async def refuse(bundle: Bundle, streams: Sequence[Stream] = ()) -> Task:
        raise Failed("no more tasks")

    with monkeypatch.context() as refusing:
        refusing.setattr(engine.runtime, "create", refuse)
        with pytest.raises(Failed, match="no more tasks"):
            await container_restart.restart(engine.containers, container, 0)
    with pytest.raises(NotFound):
        engine.containers.get(container.id)


async def test_forced_removal_of_what_removes_itself(engine: Engine) -> None:
    container = await run(engine, "sleep", "60", AutoRemove=True)
    await container_remove.remove(engine.containers, container, force=True)
    assert container.gone
