"""Pausing against a store that fails: a container is frozen when its record says so, and not otherwise."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.engine.containers import lifecycle
from corten.engine.containers import pause as container_pause
from corten.engine.containers import remove as container_remove
from corten.engine.containers import rename as container_rename
from corten.engine.containers import start as container_start
from corten.engine.containers import stop as container_stop
from corten.engine.containers import update as container_update
from corten.engine.containers.container import Container
from corten.engine.containers.list import ImageNames, summary
from corten.engine.engine import Engine
from corten.errors import Conflict, Failed, Silent, Unavailable
from corten.spec.docker.host_config import UpdateConfig
from corten.spec.json import Json
from corten.store.records import Records
from docker_json import create
from fakes.engine import PlainEngine
from fakes.runtime import FakeRuntime, FakeTask


class FailingTable(Records):
    """Refuses each write while `broken`."""

    broken = False

    def put(self, kind: str, id: str, body: Json) -> None:
        if self.broken:
            raise Unavailable("cannot use corten.db: disk I/O error")
        super().put(kind, id, body)


@pytest.fixture
def table(engine: PlainEngine) -> Iterator[FailingTable]:
    engine.containers.table = table = FailingTable(engine.store.database)
    yield table
    table.broken = False


async def running(engine: Engine) -> tuple[Container, FakeTask]:
    container, _ = await create(engine, {"Image": "test", "Cmd": ["sleep", "60"]}, name="box")
    await container_start.start(engine.containers, container)
    assert isinstance(container.task, FakeTask)
    return container, container.task


def recorded(table: FailingTable, container: Container) -> str:
    return str(table.list("container")[container.id]["state"]["status"])


async def test_a_pause_that_cannot_be_recorded_lets_the_container_go_on(engine: Engine, table: FailingTable) -> None:
    container, task = await running(engine)
    table.broken = True
    with pytest.raises(Unavailable, match="is not paused, it goes on: cannot use corten"):
        await container_pause.pause(engine.containers, container)
    assert (container.record.state.status, task.paused, recorded(table, container)) == ("running", False, "running")
    assert "pause" not in [event["Action"] for event in engine.events.history]


async def test_an_unpause_that_cannot_be_recorded_leaves_it_paused(engine: Engine, table: FailingTable) -> None:
    container, task = await running(engine)
    await container_pause.pause(engine.containers, container)
    table.broken = True
    with pytest.raises(Unavailable, match="stays paused: cannot use corten"):
        await container_pause.unpause(engine.containers, container)
    assert (container.record.state.status, task.paused, recorded(table, container)) == ("paused", True, "paused")
    table.broken = False
    await container_pause.unpause(engine.containers, container)
    assert (container.record.state.status, task.paused, recorded(table, container)) == ("running", False, "running")


async def test_an_unpause_that_cannot_thaw_leaves_the_record(
    engine: Engine, table: FailingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    container, task = await running(engine)
    await container_pause.pause(engine.containers, container)

    async def refused() -> None:
        raise Failed("the control group cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(task, "resume", refused)
        with pytest.raises(Failed, match="stays paused: the control group"):
            await container_pause.unpause(engine.containers, container)
    assert (container.record.state.status, recorded(table, container)) == ("paused", "paused")


@pytest.mark.parametrize("fails", ["at once", "while it stands still"])
async def test_a_commit_never_leaves_it_frozen(engine: Engine, table: FailingTable, fails: str) -> None:
    """It goes on before the commit has ended: the answer finds it running."""
    container, task = await running(engine)
    table.broken = fails == "at once"
    async with container_pause.still(engine.containers, container, True):
        assert task.paused and container.status == "paused"
        assert (container.record.state.status, recorded(table, container)) == ("running", "running")
        with pytest.raises(Conflict, match="is already paused"):
            await container_pause.pause(engine.containers, container)
        table.broken = True
    assert (container.record.state.status, task.paused, recorded(table, container)) == ("running", False, "running")


async def test_what_is_stored_during_a_standstill_does_not_say_paused(engine: Engine, table: FailingTable) -> None:
    """So a daemon that is killed then leaves nothing that the next one keeps frozen."""
    container, task = await running(engine)
    async with container_pause.still(engine.containers, container, True):
        await container_rename.rename(engine.containers, container, "chest")
        await container_update.update(engine.containers, container, UpdateConfig(cpu_shares=3))
        assert (recorded(table, container), container.status, task.paused) == ("running", "paused", True)
        assert summary(engine.containers, ImageNames(engine.images), container)["State"] == "paused"
    assert (recorded(table, container), container.status, task.paused) == ("running", "running", False)


async def test_two_commits_at_a_time_share_a_standstill(engine: Engine) -> None:
    container, task = await running(engine)
    async with container_pause.still(engine.containers, container, True) as first_goes_on:
        async with container_pause.still(engine.containers, container, True):
            first_goes_on()
            await engine.settle()
            assert task.paused and container.status == "paused"
        assert not task.paused and container.status == "running"
    actions = [event["Action"] for event in engine.events.history]
    assert (actions.count("pause"), actions.count("unpause")) == (1, 1)


async def test_a_client_can_end_a_standstill(engine: Engine, table: FailingTable) -> None:
    container, task = await running(engine)
    async with container_pause.still(engine.containers, container, True):
        await container_pause.unpause(engine.containers, container)
        assert not task.paused and container.status == "running"
        await container_pause.pause(engine.containers, container)
    await engine.settle()
    assert (recorded(table, container), task.paused) == ("paused", True)
    async with container_pause.still(engine.containers, container, True):
        await container_stop.kill(engine.containers, container)
    await engine.settle()
    assert recorded(table, container) == "exited"


async def test_a_standstill_that_cannot_be_ended_is_shown(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a client sees that it is paused, and can unpause it."""
    container, task = await running(engine)

    async def refused() -> None:
        raise Unavailable("cannot reach the supervisor")

    with monkeypatch.context() as patch:
        async with container_pause.still(engine.containers, container, True):
            patch.setattr(task, "resume", refused)
        await engine.settle()
        assert (container.status, container.record.state.status) == ("paused", "running")
    await container_pause.unpause(engine.containers, container)
    assert container.status == "running" and not task.paused


async def test_what_is_reached_late_and_was_frozen_goes_on(engine: Engine) -> None:
    """Its supervisor says only now that it is frozen, for a commit of a daemon that was killed."""
    container, task = await running(engine)
    await task.pause()
    engine.on_task_event(container.id, "reached", {})
    await engine.settle()
    assert not task.paused
    assert "reached" not in [event["Action"] for event in engine.events.history]


@pytest.mark.parametrize("end", ["recorded", "not yet recorded", "of a pause by a client"])
async def test_a_commit_of_what_ends_meanwhile(engine: Engine, end: str) -> None:
    """Between its look and its freezing: it stands still by itself."""
    container, task = await running(engine)
    async with container.lock:
        before = asyncio.ensure_future(enter_and_leave(engine, container))
        await asyncio.sleep(0)  # it has looked, and waits for the lock
        if end == "of a pause by a client":
            container.record.state.status = "paused"
        else:
            await task.signal(signal.SIGKILL)
            await task.wait()
        if end == "recorded":
            await lifecycle.end_run_locked(engine.containers, container, await task.wait())
    await asyncio.wait_for(before, 60)
    assert "pause" not in [event["Action"] for event in engine.events.history]
    if end == "of a pause by a client":
        container.record.state.status = "running"


async def enter_and_leave(engine: Engine, container: Container) -> None:
    async with container_pause.still(engine.containers, container, True):
        assert container.task is None or not container.task.paused


async def test_a_stop_reaches_a_paused_container_whatever_can_be_recorded(engine: Engine, table: FailingTable) -> None:
    container, _ = await running(engine)
    await container_stop.kill(engine.containers, container, "CONT")  # so that nothing is new to be recorded but states
    container.record.stopped = True
    await container_pause.pause(engine.containers, container)
    table.broken = True
    async with asyncio.timeout(60):
        await container_stop.kill(engine.containers, container)
    assert container.record.state.status == "exited"


async def test_a_stop_that_cannot_be_recorded_has_not_happened(engine: Engine, table: FailingTable) -> None:
    container, _ = await running(engine)
    table.broken = True
    for verb in (container_stop.stop, container_stop.kill, container_stop.kill_for_removal):
        with pytest.raises(Unavailable):
            await verb(engine.containers, container)
        assert container.record.state.status == "running" and not container.record.stopped


async def test_a_daemon_that_was_killed_half_way_leaves_nothing_frozen(tmp_path: Path) -> None:
    """Between freezing and the record, or in the middle of a commit: the record says "running"."""
    runtime = FakeRuntime()
    old = PlainEngine(tmp_path, runtime)
    await old.open()
    container, task = await running(old)
    await task.pause()
    old.containers.save(container)
    await old.close()

    new = PlainEngine(tmp_path, runtime)
    await new.open()
    assert not task.paused
    adopted = new.containers.get("box")
    await container_pause.pause(new.containers, adopted)
    await container_remove.remove(new.containers, adopted, force=True)
    await new.close()


@pytest.mark.parametrize("text", ["", "KILL", "SIGKILL", "kill", "9"])
async def test_kill_answers_when_the_end_is_recorded(engine: Engine, table: FailingTable, text: str) -> None:
    container, _ = await running(engine)
    await container_stop.kill(engine.containers, container, text)
    assert recorded(table, container) == "exited" and container.record.state.exit_code == 137


@pytest.mark.parametrize(
    ("isolation", "why"), [("", "the kernel holds a process of it"), ("vm", "its guest has a minute for that")]
)
async def test_kill_has_a_limit(engine: Engine, monkeypatch: pytest.MonkeyPatch, isolation: str, why: str) -> None:
    """A process that the kernel holds does not end by SIGKILL; a guest with much to end takes its time."""
    container, task = await running(engine)
    container.record.host_config = container.record.host_config.replace(isolation=isolation)
    sent: list[int] = []

    async def unheard(number: int, all_processes: bool = False) -> None:
        sent.append(number)

    with monkeypatch.context() as patch:
        patch.setattr(task, "signal", unheard)
        patch.setattr(container_stop, "_KILL_PATIENCE", 0.01)
        with pytest.raises(Failed, match=f"does not end after SIGKILL: {why}"):
            await container_stop.kill(engine.containers, container)
        await container_stop.kill(engine.containers, container, "TERM")  # is not waited for
    assert sent == [signal.SIGKILL, signal.SIGTERM] and container.record.state.status == "running"


async def test_what_is_silent_is_stopped(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest does not answer the stop signal, which it may have got: it has its time, and then KILL."""
    container, task = await running(engine)
    signal_of_task, sent = task.signal, list[int]()

    async def heard_late(number: int, all_processes: bool = False) -> None:
        sent.append(number)
        if number == signal.SIGTERM:
            raise Silent("the guest does not answer: signal")
        await signal_of_task(number, all_processes)

    monkeypatch.setattr(task, "signal", heard_late)
    with pytest.raises(Silent):
        await container_stop.kill(engine.containers, container, "TERM")
    await container_stop.stop(engine.containers, container, 0)
    assert sent == [signal.SIGTERM, signal.SIGTERM, signal.SIGKILL] and container.record.state.exit_code == 137
