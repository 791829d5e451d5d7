"""A machine whose memory goes to a file."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from corten.errors import Failed
from corten.machines import create, life, state
from corten.machines.machine import Machine
from corten.machines.records import State
from corten.tasks.contract import Exit
from unit.machines.world import World, asked


class Task:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, command: str, *_: object, **__: object) -> dict[str, Any]:
        self.asked.append(command)
        return {}


async def running(world: World) -> tuple[Machine, Task]:
    machine, task = await create.create(world.machines, "web", asked()), Task()
    machine.task, machine.record.state = cast(Any, task), State("running")
    return machine, task


async def written(*_: object) -> dict[str, Any]:
    return {}


async def test_one_that_cannot_be_recorded_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    await world.begin()
    machine, task = await running(world)
    monkeypatch.setattr(state, "send", written)
    world.table.left, world.table.error = 0, Failed("the database is full")
    with pytest.raises(Failed, match="full"):
        await life.save(world.machines, machine)
    assert task.asked == ["stop", "cont"]
    assert not machine.record.saved and not machine.record.state.stopped and not machine.lock.locked()


async def test_one_that_has_no_time_to_answer_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    await world.begin()
    machine, task = await running(world)

    async def ask(command: str, *_: object, **__: object) -> dict[str, Any]:
        if command == "quit":
            machine.record.state.status = "exited"
            machine.wake(Exit(0, 0.0))
            raise Failed("quit: QEMU has closed its connection")
        return {}

    monkeypatch.setattr(task, "ask", ask)
    monkeypatch.setattr(state, "send", written)
    await life.save(world.machines, machine)
    assert machine.record.saved and state.path(machine).exists()


async def test_the_disk_holds_nothing_else_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    await world.begin()
    machine, task = await running(world)
    large: list[int] = []
    before = os.fsync

    def fsync(fd: int) -> None:
        large.append(threading.get_ident())
        before(fd)

    monkeypatch.setattr(state, "send", written)
    monkeypatch.setattr(os, "fsync", fsync)
    await state.write(machine, cast(Any, task))
    assert state.path(machine).exists() and threading.get_ident() not in large[:1]


@pytest.mark.parametrize("saved", [True, False])
async def test_what_a_save_that_was_killed_has_left_goes(tmp_path: Path, saved: bool) -> None:
    """As much as the machine has memory."""
    world = World(tmp_path)
    await world.begin()
    machine = await create.create(world.machines, "web", asked())
    machine.record.saved = saved
    world.machines.save(machine)
    for name in ("state", ".state.new", "console.log"):
        (machine.directory / name).write_bytes(b"x")
    await world.begin()
    left = {path.name for path in machine.directory.iterdir()}
    assert left == ({"state", "console.log"} if saved else {"console.log"})
