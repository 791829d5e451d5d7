"""CDs change, while a machine runs as well: its drive stays, with another CD or none."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import Any

import msgspec

from corten.errors import Conflict, CortenError, Failed, NotFound
from corten.machines import create
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Disk, Limits
from corten.spec.docker.machine import MachineDisk
from corten.tasks.machine_tasks import MachineTask
from corten.vm import board

ANY = "any"
_SETS = 40000  # the first number of descriptors' sets
_OPENS = 10.0  # seconds for a guest to give up a CD
_LOOK = 1.0


async def insert(machines: Machines, machine: Machine, name: str, asked: MachineDisk) -> str:
    """The drive's name (`name`, or for "any" the first). What it has is ejected first. The volume is made when there is
    none of that name, and goes when this fails. NotFound, Conflict, Invalid."""
    async with machine.changing():
        drive = _drive(machine, name)
        await _eject(machines, machine, drive, force=False)
        made: list[str] = []
        taken = {volume.name for volume in machines.volumes.list()}
        default = next(text for n in range(len(taken) + 1) if (text := f"{machine.name}-cd{n}") not in taken)
        wanted = asked.replace(cdrom=True, bus="ide", volume=asked.volume or default)
        try:
            disk = await create.make_disk(machines, machine.name, 0, wanted, made)
            with machines.taking(machine, disk.volume):
                if machine.record.state.running:
                    assert machine.task is not None
                    await _insert(machines, machine, machine.task, drive.serial, disk.volume)
        except BaseException:
            machines.disks.discard(made)
            raise
        _replace(machine, drive.serial, disk.volume)
        machines.save(machine)
        machines.disks.keep(made)
    machines.publish(machine, "insert", device=drive.serial, volume=disk.volume)
    return drive.serial


async def eject(machines: Machines, machine: Machine, name: str, force: bool) -> None:
    """The volume stays. Conflict for one that the guest uses, unless by `force`."""
    async with machine.changing():
        drive = _drive(machine, name)
        if drive.empty:
            raise Conflict(f"drive {drive.serial} of machine {machine.name} is empty")
        await _eject(machines, machine, drive, force)
        machines.save(machine)
    machines.publish(machine, "eject", device=drive.serial, volume=drive.volume)


def _drive(machine: Machine, name: str) -> Disk:
    drives = [disk for disk in machine.record.disks if disk.cdrom]
    found = next((disk for disk in drives if name in (ANY, disk.serial) or (name and name == disk.volume)), None)
    if found is None:
        what = "no CD drive" if name == ANY else f"no CD drive {name}"
        raise NotFound(f"machine {machine.name} has {what}: it gets one with --cdrom, when it is created")
    return found


def _replace(machine: Machine, serial: str, volume: str) -> None:
    disks = machine.record.disks
    index = next(index for index, disk in enumerate(disks) if disk.serial == serial)
    disks[index] = msgspec.structs.replace(disks[index], volume=volume, limits=Limits())


async def _eject(machines: Machines, machine: Machine, drive: Disk, force: bool) -> None:
    if drive.empty:
        return
    if machine.record.state.running:
        task, place = machine.task, machine.record.begun.places[drive.serial]
        assert task is not None
        await _open(task, f"disk{place}", force)
        await task.ask("blockdev-remove-medium", (), id=f"disk{place}")
        for level in reversed(range(len(machines.disks.chain(drive.volume)))):
            await task.ask("blockdev-del", (), node_name=board.node(place, level))
            with suppress(CortenError):  # those that it began with have other numbers
                await task.ask("remove-fd", (), fdset_id=_SETS + place * 64 + level)
    before = machine.record.volumes
    _replace(machine, drive.serial, "")
    machines.changed(machine, before)
    machines.save(machine)


async def _open(task: MachineTask, device: str, force: bool) -> None:
    """The guest is asked to give it up, by its button; by `force` it is not asked. Conflict when it does not."""
    deadline = time.monotonic() + _OPENS
    while True:
        seen = task.events
        try:
            await task.ask("blockdev-open-tray", (), id=device, force=force)
            return
        except Failed as error:
            if force or time.monotonic() > deadline:
                text = "the guest uses the CD, and does not give it up: unmount it there, or eject it with --force"
                raise Conflict(text) from error
        await task.happens(seen, _LOOK)


async def _insert(machines: Machines, machine: Machine, task: MachineTask, serial: str, volume: str) -> None:
    place = machine.record.begun.places[serial]
    device = f"disk{place}"
    with ExitStack() as held:
        layers, fds = machines.disks.open(volume, True, held)
        sets = [_SETS + place * 64 + level for level in range(len(layers))]
        async with AsyncExitStack() as undo:
            for number, fd in zip(sets, fds, strict=True):
                await task.ask("add-fd", [fd], fdset_id=number)
                undo.push_async_callback(_quietly, task, "remove-fd", fdset_id=number)
            for node in board.disk_nodes(place, layers, [f"/dev/fdset/{number}" for number in sets]):
                await task.ask_json("blockdev-add", node)
                undo.push_async_callback(_quietly, task, "blockdev-del", node_name=node["node-name"])
            await task.ask("blockdev-open-tray", (), id=device, force=True)
            await task.ask("blockdev-insert-medium", (), id=device, node_name=board.node(place, len(layers) - 1))
            await task.ask("blockdev-close-tray", (), id=device)
            undo.pop_all()


async def _quietly(task: MachineTask, command: str, **arguments: Any) -> None:
    with suppress(CortenError):
        await task.ask(command, (), **arguments)
