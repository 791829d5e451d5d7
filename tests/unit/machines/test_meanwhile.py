"""A request that waits for a machine, which is started, removed or changed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from corten.errors import Conflict, CortenError, Failed, NotFound
from corten.machines import (
    archive,
    backups,
    cds,
    change,
    clone,
    create,
    devices,
    external,
    interfaces,
    life,
    rebase,
    snapshots,
)
from corten.machines import commit as commits
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Snapshot, State
from corten.spec.docker.machine import MachineBackup, MachineDevice, MachineDisk, MachineUpdate
from corten.spec.docker.networking import EndpointSettings
from corten.tasks.contract import Exit
from unit.machines.world import World, asked

DISK, CD = MachineDisk(size="1m"), MachineDisk(size="1m", cdrom=True)
EXTERNAL = snapshots.Kind(external=True, disk_only=True)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.begin()
    return world


@asynccontextmanager
async def busy(machine: Machine, *waiting: Awaitable[object]) -> AsyncIterator[list[asyncio.Future[Any]]]:
    """These wait for the machine's lock, one behind the other, and have ended behind the block."""
    tasks: list[asyncio.Future[Any]] = []
    async with machine.lock:
        for one in waiting:
            tasks.append(asyncio.ensure_future(one))
            await asyncio.sleep(0)
        yield tasks
    await asyncio.wait(tasks)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of machines that were killed."""
    names: list[str] = []

    async def kill(_: Machines, machine: Machine, __: object) -> None:
        names.append(machine.name)
        machine.record.state.status = "exited"
        machine.wake(Exit(0, 0.0))

    monkeypatch.setattr(life, "_kill", kill)
    return names


async def test_a_machine_that_was_started_is_not_removed(world: World) -> None:
    machine = await create.create(world.machines, "web", asked(DISK))
    async with busy(machine, life.remove(world.machines, machine, force=False, disks=True)) as (removal,):
        machine.record.state = State("running")
    with pytest.raises(Conflict, match="is running"):
        removal.result()
    assert world.machines.get("web") is machine and machine.directory.is_dir()
    with pytest.raises(Conflict, match="in use"):
        world.machines.volumes.remove("web-disk0")


async def test_one_that_was_started_is_killed_by_force(world: World, killed: list[str]) -> None:
    machine = await create.create(world.machines, "web", asked(DISK))
    async with busy(machine, life.remove(world.machines, machine, force=True, disks=True)) as (removal,):
        machine.record.state = State("running")
    removal.result()
    assert killed == ["web"] and machine.gone and not world.names()


async def exported(machines: Machines, machine: Machine) -> None:
    async for _ in archive.packed(machines, machine):
        pass


VERBS: dict[str, Callable[[Machines, Machine], Awaitable[object]]] = {
    "update": lambda all, one: change.update(all, one, MachineUpdate(memory=128 << 20)),
    "add disk": lambda all, one: change.add_disk(all, one, MachineDisk(volume="other", read_only=True)),
    "make disk": lambda all, one: change.add_disk(all, one, DISK),
    "remove disk": lambda all, one: change.remove_disk(all, one, "disk0"),
    "insert": lambda all, one: cds.insert(all, one, "any", MachineDisk(volume="other")),
    "eject": lambda all, one: cds.eject(all, one, "any", False),
    "add device": lambda all, one: devices.add(all, one, MachineDevice(kind="usb", address="3.5")),
    "remove device": lambda all, one: devices.remove(all, one, MachineDevice(kind="usb", address="3.5")),
    "connect": lambda all, one: interfaces.connect(all, one, "net", EndpointSettings()),
    "disconnect": lambda all, one: interfaces.disconnect(all, one, "bridge"),
    "snapshot": lambda all, one: snapshots.create(all, one, "second", EXTERNAL),
    "revert": lambda all, one: snapshots.revert(all, one, "first"),
    "remove snapshot": lambda all, one: snapshots.remove(all, one, "first"),
    "clone": lambda all, one: clone.clone(all, one, "copy", False),
    "backup": lambda all, one: backups.create(all, one, MachineBackup(volume="saved")),
    "rebase": lambda all, one: rebase.rebase(all, one, "disk0", ""),
    "commit": lambda all, one: commits.commit(all, one, "disk0"),
    "export": exported,
    "save": life.save,
    "pause": life.pause,
    "unpause": life.unpause,
}


@pytest.mark.parametrize("verb", VERBS)
async def test_nothing_is_held_for_one_that_was_removed(world: World, verb: str) -> None:
    machines = world.machines
    machine = await create.create(machines, "web", asked(DISK, CD))
    await machines.disks.create("other", {"size": "1m"})
    await snapshots.create(machines, machine, "first", EXTERNAL)
    before = set(world.names())
    removal = life.remove(machines, machine, force=False, disks=False)
    async with busy(machine, removal, VERBS[verb](machines, machine)) as (removed, waiting):
        pass
    removed.result()
    with pytest.raises(NotFound, match="No such machine: web"):
        waiting.result()
    assert not world.table.list("machine") and not machines.by_id and set(world.names()) == before
    for name in ("other", "web-disk1"):
        machines.volumes.remove(name)


async def test_a_client_that_reads_no_export_holds_no_removal_up(world: World) -> None:
    """Nor does one that waits behind it."""
    machine = await create.create(world.machines, "web", asked(DISK))
    begun: list[str] = []

    async def export() -> None:
        async for _ in archive.packed(world.machines, machine):
            begun.append("")
            await asyncio.Event().wait()

    exports = [asyncio.ensure_future(export()) for _ in range(3)]
    while not begun:
        await asyncio.sleep(0)
    await life.remove(world.machines, machine, force=True, disks=True)
    assert machine.gone and len(begun) == 1
    ended = await asyncio.gather(*exports, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)


async def test_a_snapshot_that_was_removed_is_reverted_to_by_no_later_daemon(world: World) -> None:
    machine = await create.create(world.machines, "web", asked(DISK))
    await snapshots.create(world.machines, machine, "first", EXTERNAL)
    async with busy(machine, snapshots.revert(world.machines, machine, "first")) as (revert,):
        machine.record.snapshots = []
        world.machines.save(machine)
    with pytest.raises(NotFound, match="no snapshot first"):
        revert.result()
    assert not machine.record.reverting


@pytest.mark.parametrize("kind", [EXTERNAL, snapshots.Kind()])
async def test_one_that_was_started_is_ended_before_it_is_reverted(
    world: World, killed: list[str], monkeypatch: pytest.MonkeyPatch, kind: snapshots.Kind
) -> None:
    """Another file would be put beneath a QEMU that runs."""
    machine = await create.create(world.machines, "web", asked(DISK))
    if kind.external:
        await snapshots.create(world.machines, machine, "first", kind)
    else:
        now = machine.record
        machine.record.snapshots = [
            Snapshot("first", 0, now.config, list(now.disks), dict(now.networks), now.begun, {})
        ]
    ran: list[bool] = []

    async def reverted(*_: object) -> None:
        ran.append(machine.record.state.running)

    monkeypatch.setattr(external, "revert", reverted)
    monkeypatch.setattr(snapshots, "_revert", reverted, raising=False)
    async with busy(machine, snapshots.revert(world.machines, machine, "first")) as (revert,):
        machine.record.state = State("running")
    revert.result()
    assert killed == ["web"] and ran == [False]


class Slow:
    """What is asked of QEMU: it has `begun`, and goes on when it `may`."""

    def __init__(self) -> None:
        self.begun, self.may, self.error = asyncio.Event(), asyncio.Event(), ""

    async def __call__(self, *_: object) -> None:
        self.begun.set()
        await self.may.wait()
        if self.error:
            raise Failed(self.error)


async def plugged(machines: Machines, machine: Machine, how: str, read_only: bool) -> object:
    if how == "cd":
        return await cds.insert(machines, machine, "any", MachineDisk(volume="other"))
    return await change.add_disk(machines, machine, MachineDisk(volume="other", read_only=read_only))


@pytest.mark.parametrize(("how", "read_only"), [("disk", False), ("disk", True), ("cd", True)])
@pytest.mark.parametrize("error", ["", "no room"])
async def test_a_volume_that_is_plugged_in(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str, read_only: bool, error: str
) -> None:
    """It is not removed meanwhile, and no other machine has it: QEMU would not see that two write to it."""
    machines, slow = world.machines, Slow()
    one = await create.create(machines, "one", asked(DISK, CD))
    two = await create.create(machines, "two", asked(DISK, CD))
    for machine in (one, two):
        await cds.eject(machines, machine, "any", False)
        machine.record.state = State("running")
        machine.task = object()  # type: ignore[assignment]
    await machines.disks.create("other", {"size": "1m"})
    monkeypatch.setattr(change, "_plug_disk", slow)
    monkeypatch.setattr(cds, "_insert", slow)
    slow.error = error
    adding = asyncio.ensure_future(plugged(machines, one, how, read_only))
    await slow.begun.wait()
    with pytest.raises(Conflict, match="in use"):
        machines.volumes.remove("other")
    with pytest.raises(Conflict, match="in use by machine one"):
        await change.add_disk(machines, two, MachineDisk(volume="other"))
    slow.may.set()
    with suppress(Failed):
        await adding
    if error:
        machines.volumes.remove("other")
    else:
        with pytest.raises(Conflict, match="in use"):
            machines.volumes.remove("other")


async def test_a_new_disk_that_cannot_be_plugged_in_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, slow = await create.create(world.machines, "web", asked(DISK)), Slow()
    machine.record.state = State("running")
    slow.error = "no room"
    slow.may.set()
    monkeypatch.setattr(change, "_plug_disk", slow)
    with pytest.raises(Failed, match="no room"):
        await change.add_disk(world.machines, machine, DISK)
    assert world.names() == ["web-disk0"]


@pytest.mark.parametrize("how", ["disk", "cd"])
async def test_a_volume_that_a_machine_has_twice_is_its_own_until_it_has_it_no_more(world: World, how: str) -> None:
    machines = world.machines
    await machines.disks.create("other", {"size": "1m"})
    again = MachineDisk(volume="other", read_only=True, cdrom=how == "cd")
    machine = await create.create(machines, "web", asked(again, again))

    async def take_out(name: str) -> None:
        if how == "cd":
            await cds.eject(machines, machine, name, False)
        else:
            await change.remove_disk(machines, machine, name)

    await take_out("disk0")
    with pytest.raises(Conflict, match="in use"):
        machines.volumes.remove("other")
    await take_out("disk1")
    machines.volumes.remove("other")


@pytest.mark.parametrize("fails", [False, True])
async def test_a_volume_of_a_machine_that_is_being_made(world: World, fails: bool) -> None:
    machines, slow = world.machines, Slow()
    slow.error = "no kernel" if fails else ""
    await machines.disks.create("other", {"size": "1m"})
    making = asyncio.ensure_future(create.create(machines, "one", asked(MachineDisk(volume="other")), furnish=slow))
    await slow.begun.wait()
    with pytest.raises(Conflict, match="in use"):
        machines.volumes.remove("other")
    with pytest.raises(Conflict, match="in use"):
        await create.create(machines, "two", asked(MachineDisk(volume="other")))
    slow.may.set()
    with suppress(CortenError):
        await making
    if fails:
        machines.volumes.remove("other")
    assert ("one" in machines.by_name) is not fails


async def test_a_volume_that_is_removed_while_the_others_are_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines, slow = world.machines, Slow()
    await machines.disks.create("other", {"size": "1m"})
    monkeypatch.setattr(world, "convert", slow)
    machines.disks._convert = slow
    (world.root / "image").write_bytes(bytes(1 << 20))
    disks = MachineDisk(volume="other"), MachineDisk(source=str(world.root / "image"))
    making = asyncio.ensure_future(create.create(machines, "one", asked(*disks)))
    await slow.begun.wait()
    machines.volumes.remove("other")
    slow.may.set()
    with pytest.raises(NotFound, match="other"):
        await making
    assert not world.names() and not machines.by_id
