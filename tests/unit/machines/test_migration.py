"""A machine on its way: descriptions that another daemon may send, and clients that go in the middle."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest

from corten.aio.background import Background, Forever
from corten.errors import Conflict, CortenError, Failed, Invalid, NotFound, Unavailable
from corten.machines import blocks, migration_source, migration_target, run, state
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.migration import Incoming, Moved, Outgoing
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask

MEMORY = 64 << 20


class Networks:
    config = SimpleNamespace(has_default=True)

    def find(self, name: str) -> Any:
        if name.startswith("no"):
            raise NotFound(name)
        return SimpleNamespace(definition=SimpleNamespace(name="bridge" if name in ("bridge", "br") else name))


MACHINES = cast(Machines, SimpleNamespace(networks=Networks()))


def description(**changes: Any) -> Json:
    return {
        "version": 1,
        "name": "web",
        "uuid": str(uuid.UUID(int=5)),
        "config": {"Memory": MEMORY, "MaxMemory": MEMORY, "CPUs": 1, "MaxCPUs": 2},
        "disks": [{"serial": "disk0", "volume": "v"}, {"serial": "cloud-init", "volume": "", "read_only": True}],
        "sizes": {"disk0": 1 << 20},
        "networks": {"bridge": {}},
        "begun": {"memory": MEMORY, "cpus": 1, "places": {"disk0": 0, "cloud-init": 1, "bridge": 2}},
        "macs": {"bridge": "02:42:ac:11:00:02"},
        "addresses": {"bridge": ["172.17.0.2"]},
        "cd": "AAAA",
        **changes,
    }


def checked(body: Json) -> Moved:
    return migration_target._checked(MACHINES, migration_target._decoded(body))


def test_a_description() -> None:
    moved = checked(description())
    assert (moved.config.memory, moved.config.firmware, moved.config.networks) == (MEMORY, "bios", None)


def disk(serial: str, **more: Any) -> Json:
    places = {serial: 0, "bridge": 2}
    made = {"serial": serial, "volume": "v", **more}
    begun = {"memory": MEMORY, "cpus": 1, "places": places}
    return {"disks": [made], "sizes": {serial: 1 << 20}, "begun": begun, "cd": ""}


def config(**more: Any) -> Json:
    return {"config": {**description()["config"], **more}}


def begun(**more: Any) -> Json:
    return {"begun": {**description()["begun"], **more}}


@pytest.mark.parametrize(
    "changes",
    [
        {"cd": ""},
        {"uuid": "x"},
        {"uuid": "{00000000-0000-0000-0000-000000000005}"},
        {"sizes": {}},
        {"addresses": {"bridge": ["zz"]}},
        {"networks": {"host": {}}},
        {"networks": {"br": {}}},
        {"networks": {"bridge": {}, "br": {}}},
        {"networks": {"bridge": {"IPAMConfig": {"IPv4Address": "999"}}}},
        {"disks": []},
        disk("disk0,readonly=on"),
        disk(""),
        disk("disk0", volume=""),
        disk("cloud-init"),
        disk("disk0", bus="nvme"),
        disk("disk0", read_only=True),
        disk("disk0", cdrom=True, bus="ide"),
        {**disk("disk0"), "disks": [{"serial": "disk0", "volume": "v"}] * 2},
        config(Memory=0, MaxMemory=-1),
        config(Memory=-1),
        config(Memory=1 << 60),
        config(CPUs=-3),
        config(CPUs=100_000),
        config(Firmware="other"),
        config(Kernel="relative"),
        config(NetworkModel="other"),
        config(RestartPolicy={"Name": "other"}),
        config(PortBindings={"zz": None}),
        begun(memory=0),
        begun(memory=-1),
        begun(memory=1 << 62),
        begun(cpus=0),
        begun(cpus=1000),
        begun(places={"disk0": 0, "cloud-init": 1}),
        begun(places={"disk0": 0, "cloud-init": 0, "bridge": 2}),
        begun(places={"disk0": 0, "cloud-init": -1, "bridge": 2}),
        begun(places={"disk0": 0, "cloud-init": 32, "bridge": 2}),
    ],
    ids=repr,
)
def test_descriptions_of_no_machine(changes: Json) -> None:
    with pytest.raises(Invalid):
        checked(description(**changes))


def test_a_network_that_is_called_as_a_disk() -> None:
    given: Json = {"networks": {"disk0": {}}, "macs": {}, "addresses": {}}
    places = {"disk0": 0, "cloud-init": 1, "network=disk0": 2}
    assert checked(description(**given, begun={"memory": MEMORY, "cpus": 1, "places": places})).begun.places == places


@pytest.mark.parametrize("text", ["%%%", "é", "A"])
def test_a_cd_that_is_none(text: str) -> None:
    with pytest.raises(Invalid):
        migration_target._bytes(text)


class Qemu:
    """A machine's QEMU, which is asked for the state: `sent` is set when it has been, and it stands still then."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.running = True
        self.jobs: list[Json] = []
        self.events, self.last = 0, dict[str, float]()
        self.moved: Json = {}
        self.stages: list[str] = []
        self.limit: object = None
        self.finalizing = 0  # looks at its RunState from which the end of a migration is not done yet

    def look(self) -> Json:
        """QEMU's MigrationInfo."""
        return self.moved or {"status": "completed" if "migrate" in self.commands else "none"}

    async def happens(self, seen: int, seconds: float) -> None:
        await asyncio.sleep(0)

    async def ask(self, command: str, fds: object = (), **arguments: Any) -> Any:
        self.commands.append(command)
        match command:
            case "migrate" | "stop":
                self.running = False
            case "migrate-set-parameters":
                self.limit = arguments["downtime_limit"]
            case "query-migrate" if "migrate" in self.commands and self.stages:
                return {"status": self.stages.pop(0)}
            case "query-migrate":
                return self.look()
            case "query-jobs":
                return list(self.jobs)
            case "query-status" if self.finalizing:
                self.finalizing -= 1
                return {"running": False, "status": "finish-migrate"}
            case "cont" if self.finalizing:
                raise Failed("QEMU refuses cont: Migration is not finalized yet")
            case "query-status":
                return {"running": self.running, "status": "running" if self.running else "postmigrate"}
            case "cont":
                self.running = True
            case "block-job-cancel":
                self.jobs.clear()
        return {}


class World:
    def __init__(self, volumes: int = 0, accelerator: str = "kvm") -> None:
        self.accelerator = accelerator
        self.qemu, self.saved = Qemu(), list[str]()
        state = SimpleNamespace(status="running", running=True)
        record = SimpleNamespace(state=state, volumes=["v"] * volumes)
        self.record = record
        self.machine = cast(
            Machine,
            SimpleNamespace(name="web", task=self.qemu, record=record, outgoing=Outgoing(), lock=asyncio.Lock()),
        )
        self.machines = cast(
            Machines,
            SimpleNamespace(
                changing=Background(),
                watching=Forever(),
                guests=SimpleNamespace(accelerator=self._accelerator),
                task=lambda machine: machine.task,
                save=lambda machine: self.saved.append(machine.record.state.status),
            ),
        )

    async def _accelerator(self) -> Any:
        return SimpleNamespace(name=self.accelerator)

    async def close(self) -> None:
        await self.machines.watching.cancel(None)
        await self.machines.changing.settle(None)


def pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


async def test_the_client_goes_when_all_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not stand still for ever."""
    monkeypatch.setattr(migration_source, "GO", 0.01)
    world = World()
    migration_source.send_state(world.machines, world.machine, pipe())
    while not (world.qemu.running and world.qemu.commands[-1] == "cont" if world.qemu.commands else False):
        await asyncio.sleep(0.001)
    assert world.machine.outgoing is None and "migrate" in world.qemu.commands
    await world.close()


async def test_it_is_paused_when_it_may_go_on_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """So no daemon lets it go on here by itself; who gives the move up does."""
    monkeypatch.setattr(migration_source, "GO", 0.01)
    world = World()
    migration_source.send_state(world.machines, world.machine, pipe())
    await migration_source.finished(world.machines, world.machine)
    await world.machines.changing.settle(None)
    assert (world.record.state.status, world.saved, world.qemu.running) == ("paused", ["paused"], False)
    await migration_source.cancel(world.machines, world.machine)
    assert (world.record.state.status, world.qemu.running) == ("running", True)
    await world.close()


@pytest.mark.parametrize(("accelerator", "status"), [("kvm", "active"), ("tcg", "setup")])
async def test_what_could_not_be_sent_goes_on_at_once(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, status: str
) -> None:
    """Whether a client asks for the reason or not; one that does hears it. An emulated one stands still at the
    beginning as well."""
    monkeypatch.setattr(state, "_STALL", 0.0)
    monkeypatch.setattr(state, "_LOOK", 0.0)
    world = World(accelerator=accelerator)
    world.qemu.moved = {"status": status, "ram": {"transferred": 5}}
    migration_source.send_state(world.machines, world.machine, pipe())
    async with asyncio.timeout(60):
        while not (world.qemu.commands and world.qemu.commands[-1] == "cont"):
            await asyncio.sleep(0.001)
    assert "migrate_cancel" in world.qemu.commands and world.qemu.running
    with pytest.raises(Failed, match="nothing of it is taken"):
        await migration_source.finished(world.machines, world.machine)
    assert world.qemu.running and world.machine.outgoing is None
    await world.close()


async def test_a_client_that_is_slow_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_STALL", 0.0)
    monkeypatch.setattr(state, "_LOOK", 0.0)
    world = World()
    sent = itertools.count()
    monkeypatch.setattr(world.qemu, "look", lambda: {"status": "active", "ram": {"transferred": next(sent)}})
    migration_source.send_state(world.machines, world.machine, pipe())
    while next(sent) < 50:
        await asyncio.sleep(0)
    monkeypatch.setattr(world.qemu, "look", lambda: {"status": "completed"})
    await migration_source.finished(world.machines, world.machine)
    assert "migrate_cancel" not in world.qemu.commands
    await world.close()


async def test_a_disk_that_is_not_mirrored_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mirror is begun behind the answer to the client, which may ask for the state before."""
    monkeypatch.setattr(migration_source, "_LOOK", 0)
    world = World(volumes=1)
    migration_source.send_state(world.machines, world.machine, pipe())
    outgoing = world.machine.outgoing
    assert outgoing is not None and outgoing.sending is not None
    while world.qemu.commands.count("query-jobs") < 3:
        await asyncio.sleep(0)
    assert "migrate" not in world.qemu.commands
    world.qemu.jobs.append({"id": "migrate0", "status": "ready"})
    outgoing.places.append(0)
    await outgoing.sending
    assert "migrate" in world.qemu.commands
    await world.close()


async def test_what_is_given_up_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration_source, "_LOOK", 0)
    world = World(volumes=1)
    fd = pipe()
    migration_source.send_state(world.machines, world.machine, fd)
    with pytest.raises(Conflict, match="is being sent already"):
        migration_source.send_state(world.machines, world.machine, pipe())
    await asyncio.sleep(0)
    await migration_source.cancel(world.machines, world.machine)
    await world.machines.changing.settle(None)
    assert "migrate" not in world.qemu.commands
    with pytest.raises(OSError):
        os.fstat(fd)
    await world.close()


async def test_a_disk_that_cannot_be_mirrored() -> None:
    world = World(volumes=1)
    outgoing = world.machine.outgoing
    assert outgoing is not None
    outgoing.failed = True
    migration_source.send_state(world.machines, world.machine, pipe())
    assert outgoing.sending is not None
    with pytest.raises(CortenError, match="could not be copied"):
        await outgoing.sending
    await world.close()


@pytest.mark.parametrize("running, jobs", [(False, []), (True, [{"id": "migrate3", "status": "ready"}])])
async def test_the_next_daemon_lets_it_go_on(running: bool, jobs: list[Json]) -> None:
    world = World()
    world.machine.outgoing = None
    world.qemu.running, world.qemu.jobs = running, jobs
    await migration_source.given_up(world.machines, world.machine, cast(Any, world.qemu))
    assert world.qemu.running and not world.qemu.jobs
    await world.close()


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_behind_the_end_that_is_reported_it_can_go_on(status: str) -> None:
    qemu, fd = Qemu(), pipe()
    qemu.stages, qemu.finalizing = ["active", status], 3
    with pytest.raises(Failed) if status != "completed" else nullcontext():
        await state.send(cast(Any, qemu), fd)
    await qemu.ask("cont")
    os.close(fd)


async def test_one_that_is_given_up_at_its_end_goes_on() -> None:
    world = World()
    world.qemu.running, world.qemu.finalizing = False, 3
    await migration_source.cancel(world.machines, world.machine)
    assert world.qemu.running
    await world.close()


@pytest.mark.parametrize(("accelerator", "stops"), [("tcg", True), ("kvm", False)])
def test_an_emulated_one_stands_still_at_the_first_look_at_its_memory(accelerator: str, stops: bool) -> None:
    """And there is no second look while it runs."""

    async def send() -> None:
        world = World(accelerator=accelerator)
        world.qemu.stages = ["setup", "setup", "active"]
        migration_source.send_state(world.machines, world.machine, pipe())
        moved = await migration_source.finished(world.machines, world.machine)
        words = [word for word in world.qemu.commands if word in ("stop", "migrate", "query-migrate", "cont")]
        looks = ["query-migrate"] * 3
        assert words[:6] == (["stop", "migrate", *looks, "cont"] if stops else ["migrate", *looks, "query-migrate"])
        assert (world.qemu.limit == 0) is stops and (moved["Downtime"] > 0) is stops
        await world.close()

    asyncio.run(send())


def connected(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[socket.socket, int]:
    """A client's end of what a disk is sent by, and the daemon's."""
    monkeypatch.setattr(blocks, "written", AsyncMock(return_value="node0"))
    world.record.begun = SimpleNamespace(places={"disk0": 0})
    world.record.disks = [SimpleNamespace(serial="disk0")]
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    return ours, theirs.detach()


def is_left(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:  # with what has not been read
        return True


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK"])
async def test_qemu_is_given_no_connection_that_is_not_nbd(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for the other end's words, and its guest with it."""
    world = World(volumes=1)
    client, fd = connected(world, monkeypatch)
    monkeypatch.setattr(migration_source, "_TAKEN", 0.05)
    with client:
        client.sendall(said)
        with pytest.raises(Failed):
            await migration_source.send_disk(world.machines, world.machine, "disk0", fd)
        assert not world.qemu.commands and is_left(client)
    await world.close()


async def test_a_server_of_nbd_that_says_no_more_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(volumes=1)
    client, fd = connected(world, monkeypatch)
    own = socket.socket(fileno=os.dup(fd))  # QEMU's
    greeted = migration_source._greeted

    async def and_no_more(connection: socket.socket) -> None:
        await greeted(connection)
        monkeypatch.setattr(migration_source, "_TAKEN", 0.05)

    monkeypatch.setattr(migration_source, "_greeted", and_no_more)

    async def wait(command: str, arguments: Json) -> None:
        """As QEMU does it, for as long as nothing comes."""
        await asyncio.to_thread(own.settimeout, 60)
        assert (await asyncio.to_thread(own.recv, 99)) == migration_source._HELLO
        assert (await asyncio.to_thread(own.recv, 99)) == b""
        raise Failed("EOF")

    world.qemu.ask_json = wait  # type: ignore[attr-defined]
    with client, own:
        client.sendall(migration_source._HELLO)
        with pytest.raises(Failed, match="EOF"):
            await migration_source.send_disk(world.machines, world.machine, "disk0", fd)
    await migration_source.cancel(world.machines, world.machine)
    with pytest.raises(OSError):
        os.fstat(fd)
    await world.close()


@pytest.mark.parametrize("ends", ["cancelled", "moved", "machine"])
async def test_no_connection_of_a_disk_is_left_open(ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of a client that stays and says nothing, either."""
    world = World(volumes=1)
    client, fd = connected(world, monkeypatch)

    async def mirrored(command: str, arguments: Json) -> None:
        world.qemu.jobs = [{"id": "migrate0", "status": "ready"}]

    world.qemu.ask_json = mirrored  # type: ignore[attr-defined]
    with client:
        client.sendall(migration_source._HELLO)
        await migration_source.send_disk(world.machines, world.machine, "disk0", fd)
        match ends:
            case "cancelled":
                await migration_source.cancel(world.machines, world.machine)
            case "moved":
                migration_source.send_state(world.machines, world.machine, pipe())
                await migration_source.finished(world.machines, world.machine)
            case "machine":
                await run.ended(world.machine)
        assert is_left(client)
    with pytest.raises(OSError):
        os.fstat(fd)
    await world.close()


class Waiting:
    """QEMU that waits for a state, as far as a target asks for it; `given` is the socket that it has for that."""

    def __init__(self) -> None:
        self.given: list[socket.socket] = []

    async def ask(self, command: str, fds: Sequence[int] = (), **arguments: Any) -> Any:
        if command == "getfd":
            self.given.append(socket.socket(fileno=os.dup(fds[0])))
        return {"status": "active"}

    async def happens(self, seen: int, seconds: float) -> None:
        await asyncio.sleep(0.01)

    async def wait(self) -> Any:
        await asyncio.Event().wait()

    events = 0


@pytest.mark.parametrize("connected", [False, True])
async def test_a_target_to_which_nothing_comes_is_given_up(monkeypatch: pytest.MonkeyPatch, connected: bool) -> None:
    """Whether a client has connected or not: it may hold the connection and be gone."""
    monkeypatch.setattr(migration_target, "_SILENCE", 0.05)
    loop, client = asyncio.get_running_loop(), socket.socketpair()
    incoming = Incoming(loop.create_future(), loop.create_future(), loop.create_future())
    if connected:
        incoming.state.set_result((client[0].detach(), b""))
    qemu = Waiting()
    work = migration_target._state_comes(cast(MachineTask, qemu), incoming, "web")
    with pytest.raises(Unavailable, match="nothing has come of machine web for 50ms"):
        await asyncio.wait_for(migration_target._while_it_comes(incoming, work, "web"), 60)
    client[1].setblocking(False)
    if connected:
        assert client[1].recv(1) == b"", "it is closed"
    for end in (*client, *qemu.given):
        end.close()


async def test_a_target_to_which_something_comes_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a disk or of its state, which is passed on from its first byte."""
    loop, (client, ours) = asyncio.get_running_loop(), socket.socketpair()
    incoming = Incoming(loop.create_future(), loop.create_future(), loop.create_future())
    qemu = Waiting()
    came = list[None]()
    monkeypatch.setattr(incoming.__class__, "comes", lambda self: came.append(None))
    work = asyncio.ensure_future(migration_target._state_comes(cast(MachineTask, qemu), incoming, "web"))
    incoming.state.set_result((ours.detach(), b"ear"))
    client.sendall(b"ly and late")
    client.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(60):
        while not (qemu.given and came):
            await asyncio.sleep(0.001)
        qemu.given[0].setblocking(False)
        said = b""
        while data := await loop.sock_recv(qemu.given[0], 100):
            said += data
    assert said == b"early and late"
    work.cancel()
    await asyncio.wait([work])
    for end in (client, qemu.given[0]):
        end.close()
