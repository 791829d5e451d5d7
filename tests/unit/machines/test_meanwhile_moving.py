"""Connections of clients to a machine that ends, or is given up, while they are taken."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corten.api import machines as api
from corten.errors import Conflict, Failed, Unavailable
from corten.machines import blocks, console, create, guest_files, life, migration_source, migration_target, run
from corten.machines.machine import Machine
from corten.machines.migration import Incoming, Outgoing
from corten.machines.records import Begun
from corten.spec.docker.machine import MachineDisk
from corten.spec.json import Json
from corten.tasks.contract import Stream
from corten.tasks.machine_tasks import MachineTask
from unit.machines.world import World, asked


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.begin()
    return world


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def has_ended(connection: socket.socket) -> bool:
    """Also where its other end has not read all that was sent."""
    connection.settimeout(60)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


async def test_a_state_that_comes_while_its_machine_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes a moment: QEMU ends, and its files go."""
    machine = await create.create(world.machines, "web", asked())
    loop, ends = asyncio.get_running_loop(), asyncio.Event()
    incoming = machine.incoming = Incoming(loop.create_future(), loop.create_future(), loop.create_future())

    async def start(*_: object, **__: object) -> None:
        incoming.ready.set_result(None)
        try:
            await asyncio.Event().wait()
        finally:
            await ends.wait()

    monkeypatch.setattr(run, "start_locked", start)
    incoming.start = asyncio.ensure_future(migration_target._arrive(world.machines, machine, incoming))
    await incoming.ready
    removal = asyncio.ensure_future(life.remove(world.machines, machine, force=True, disks=False))
    await asyncio.sleep(0)
    migration_target.check_incoming(machine)
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        migration_target.receive_state(machine, theirs.detach(), b"")
        ends.set()
        await removal
        assert await loop.sock_recv(ours, 1) == b""
    assert machine.gone


class Qemu:
    """`does` is called with each command before it has its answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.jobs: list[Json] = []
        self.fails, self.events = "", 0
        self.during: dict[str, Any] = {}

    async def ask(self, command: str, fds: object = (), **arguments: Any) -> Any:
        return await self.ask_json(command, {key.replace("_", "-"): value for key, value in arguments.items()})

    async def ask_json(self, command: str, arguments: Json) -> Any:
        self.asked.append(command)
        if command in self.during:
            await self.during.pop(command)()
        if command == self.fails:
            raise Failed(f"{command}: no")
        match command:
            case "blockdev-mirror":
                self.jobs.append({"id": arguments["job-id"], "status": "running"})
            case "block-job-cancel":
                self.jobs = [job for job in self.jobs if job["id"] != arguments["device"]]
            case "query-jobs":
                return list(self.jobs)
            case "query-status":
                return {"running": True}
        return {}

    async def happens(self, *_: object) -> None:
        await asyncio.sleep(0)


async def moving(world: World) -> tuple[Machine, Qemu]:
    machine, qemu = await create.create(world.machines, "web", asked(MachineDisk(size="1m"))), Qemu()
    machine.record.begun = Begun(places={"disk0": 0})
    machine.record.state.status, machine.outgoing = "running", Outgoing()
    machine.task = cast(MachineTask, qemu)
    return machine, qemu


@pytest.mark.parametrize("command", ["getfd", "blockdev-add", "blockdev-mirror"])
@pytest.mark.parametrize("how", ["given up", "begun anew", "ended"])
async def test_a_disk_whose_move_is_given_up_while_its_mirror_begins(
    world: World, monkeypatch: pytest.MonkeyPatch, command: str, how: str
) -> None:
    machine, qemu = await moving(world)

    async def written(*_: object) -> str:
        return "disk0-0"

    async def during() -> None:
        if how == "ended":
            await run.ended(machine)
        else:
            await migration_source.cancel(world.machines, machine)
            machine.outgoing = Outgoing() if how == "begun anew" else None

    monkeypatch.setattr(blocks, "written", written)
    qemu.during[command] = during
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(migration_source._HELLO)
        with pytest.raises(Conflict, match="not on its way"):
            await migration_source.send_disk(world.machines, machine, "disk0", theirs.detach())
        assert has_ended(ours)
    assert not qemu.jobs
    begun, ended = qemu.asked.count("blockdev-add"), qemu.asked.count("blockdev-del")
    assert begun == ended == (0 if command == "getfd" else 1)
    assert machine.outgoing is None or how != "begun anew" or not machine.outgoing.connections
    await world.machines.changing.settle()


async def test_a_mirror_that_cannot_begin_leaves_no_node(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one would be called the same."""
    machine, qemu = await moving(world)

    async def written(*_: object) -> str:
        return "disk0-0"

    monkeypatch.setattr(blocks, "written", written)
    qemu.fails = "blockdev-mirror"
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(migration_source._HELLO)
        with pytest.raises(Failed, match="blockdev-mirror: no"):
            await migration_source.send_disk(world.machines, machine, "disk0", theirs.detach())
    assert qemu.asked[-1] == "blockdev-del"
    await migration_source.cancel(world.machines, machine)
    await world.machines.changing.settle()


async def test_a_screen_that_takes_no_client_keeps_no_connection_of_it(world: World) -> None:
    machine, qemu = await moving(world)
    qemu.fails = "add_client"
    fd = os.dup(0)
    await console.screen(machine, fd)
    assert qemu.asked == ["getfd", "add_client", "closefd"] and not is_open(fd)


async def test_a_machine_that_ends_while_its_screen_is_asked_for(world: World) -> None:
    machine, qemu = await moving(world)

    async def ends() -> None:
        await run.ended(machine)

    qemu.during["getfd"] = ends
    fd = os.dup(0)
    await console.screen(machine, fd)
    assert not is_open(fd)


async def test_a_client_that_goes_before_its_file_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent of a guest has few descriptors."""
    closed: list[int] = []

    class Agent:
        async def ask_agent(self, command: str, seconds: float, **arguments: Any) -> Any:
            if command == "guest-file-close":
                closed.append(arguments["handle"])
            return 7

    machine = SimpleNamespace(task=Agent())

    async def begin(*_: object) -> None:
        raise ConnectionResetError("the client has gone")

    monkeypatch.setattr(api, "begin", begin)
    all = SimpleNamespace(running=lambda name: machine, task=lambda one: one.task)
    call = cast(Any, SimpleNamespace(machines=all, path={"id": "web"}, text=lambda name: "/etc/hostname"))
    with pytest.raises(ConnectionResetError):
        await api.read_file(call)
    assert closed == [7] and guest_files


async def test_a_client_of_a_console_that_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its supervisor may have a copy of the connection on its way, and is stopped."""
    connection, supervisor = socket.socketpair()
    task = MachineTask("web", Path("/nowhere"), connection, lambda *_: None)

    async def silent(do: str, body: Json, fds: list[int], seconds: float) -> None:
        copies.extend(map(os.dup, fds))
        raise Unavailable("the machine has not answered")

    copies: list[int] = []
    monkeypatch.setattr(task, "_ask", silent)
    ours, theirs = socket.socketpair()
    with ours, supervisor:
        with pytest.raises(Unavailable):
            await task.attach(Stream(theirs.detach()))
        assert has_ended(ours)
    for copy in copies:
        os.close(copy)
    task.leave()
