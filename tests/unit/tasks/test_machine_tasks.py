"""What a machine's supervisor is asked, and how long that is waited for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_asyncio

from corten.errors import Conflict, Failed, Unavailable
from corten.spec.json import Json
from corten.supervisor import machine_requests, sockets, wire
from corten.tasks import answers, machine_tasks
from corten.tasks.machine_tasks import MachineSupervisors, MachineTask


@pytest_asyncio.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[MachineTask, socket.socket]]:
    monkeypatch.setattr(machine_tasks, "_QUIET", 0.01)
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    task = MachineTask("id" * 32, tmp_path, ours, lambda *event: None)
    yield task, theirs
    task.close()
    theirs.close()


async def test_a_supervisor_that_is_stopped_is_not_waited_for_as_long_as_qemu(
    pair: tuple[MachineTask, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_tasks, "_THERE", 0.01)
    with pytest.raises(Unavailable, match="cannot reach the supervisor of machine ididididid"):
        await asyncio.wait_for(pair[0].ask("query-status", seconds=3600), 60)
    assert pair[0]._asked == {}


async def test_one_whose_qemu_takes_its_time_is_waited_for(pair: tuple[MachineTask, socket.socket]) -> None:
    """It says that it is there, or, an older one, that it does not know what that means."""
    task, theirs = pair
    decoder = wire.Decoder()
    answered: list[Json] = [{"ok": {}}, {"error": {"type": "Failed", "message": "unknown request 'reach'"}}]
    for said in answered:
        asked = asyncio.ensure_future(task.ask("query-status", seconds=60))
        (first, _), (second, _) = [await answers.answer(theirs, decoder, 60) for _ in range(2)]
        assert (first["do"], second["do"]) == ("ask", "reach")
        theirs.send(wire.frame({"id": second["id"], **said}, ()))
        theirs.send(wire.frame({"id": first["id"], "ok": {"running": True}}, ()))
        assert await asked == {"running": True}
    with pytest.raises(Unavailable, match="the machine has not answered within 20ms"):
        await task.ask("query-status", seconds=0.02)


async def test_one_that_ends_meanwhile(pair: tuple[MachineTask, socket.socket]) -> None:
    task, theirs = pair
    asked = asyncio.ensure_future(task.ask("query-status", seconds=60))
    decoder = wire.Decoder()
    await answers.answer(theirs, decoder, 60)
    await answers.answer(theirs, decoder, 60)
    theirs.shutdown(socket.SHUT_RDWR)
    with pytest.raises(Conflict, match="does not run any more"):
        await asked
    with pytest.raises(Conflict, match="does not run any more"):
        await task.ask("query-status")


async def test_one_that_is_killed_at_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has left is no obstacle for the next one."""
    ours, theirs = socket.socketpair()
    theirs.close()
    left = tmp_path / "run" / "id" / sockets.SUPERVISOR
    left.parent.mkdir(parents=True)
    left.touch()
    launcher = cast(Any, SimpleNamespace(connect=lambda _: ours))
    monkeypatch.setattr(machine_requests, "encode", lambda _: {})
    supervisors = MachineSupervisors(launcher, tmp_path / "run", lambda *event: None)
    request = SimpleNamespace(id="id", directory=str(tmp_path), cgroup="/corten-none/id")
    with pytest.raises(Failed, match="ended without a word"):
        await supervisors.begin(cast(Any, request), [])
    assert not left.parent.exists()
