"""Changes of a machine: memory, processors, sizes of disks, and devices that come and go, while it runs where that can
be, and otherwise with its next start."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import Any

from corten.errors import Conflict, CortenError, Failed, Invalid, NotFound
from corten.machines import agent, block_devices, blocks, create, limits, passthrough, run
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.processors import plug_cpus
from corten.machines.records import Disk
from corten.network import rate
from corten.spec.docker.machine import MachineDisk, MachineLimits, MachineUpdate
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask
from corten.units.durations import in_go
from corten.units.sizes import human_size, parse_bytes
from corten.vm import board
from corten.vm.board import BoardDisk

LIVE, LATER = "live", "next start"
_SETS = 1000  # the first number of descriptors' sets for what is plugged in
_GOES = 60.0  # seconds for a guest to give up a device
_AGAIN = 8.0
_LOOK = 0.1


async def update(machines: Machines, machine: Machine, asked: MachineUpdate) -> Json:
    """What of it holds now, and what with the next start: {"Memory": "live"}. Invalid, Conflict; what came before an
    error holds."""
    done: Json = {}
    async with machine.changing():
        if asked.memory:
            done["Memory"] = await _memory(machines, machine, asked.memory)
        if asked.cpus:
            done["CPUs"] = await _cpus(machines, machine, asked.cpus)
        for volume, size in (asked.disks or {}).items():
            done[volume] = await _grow(machines, machine, volume, size)
        for volume, wanted in (asked.limits or {}).items():
            done[f"{volume} limits"] = await _limit(machines, machine, volume, wanted)
        if asked.net_rate is not None:
            done["NetRate"] = _net_rate(machines, machine, asked.net_rate)
        if machine.task is not None and machine.task.agent and LIVE in (done.get("Memory"), done.get("CPUs")):
            await agent.take_into_use(machine, asked.cpus if done.get("CPUs") == LIVE else 0)
    machines.publish(machine, "update")
    return done


async def _memory(machines: Machines, machine: Machine, size: int) -> str:
    record, config = machine.record, machine.record.config
    size = -(-size // board.BLOCK) * board.BLOCK
    if size < create.SMALLEST:
        raise Invalid(f"a machine has at least {human_size(create.SMALLEST)} of memory")
    how = LATER
    if size > config.max_memory:
        check_not_saved(machine)
    if record.state.running:
        if size > config.max_memory:
            most = human_size(config.max_memory)
            raise Invalid(f"machine {machine.name} can have at most {most} of memory (--max-memory), until it is off")
        assert machine.task is not None
        if size >= record.begun.memory and config.max_memory > record.begun.memory:
            more = size - record.begun.memory
            path = "/machine/peripheral/memory"
            await machine.task.ask("qom-set", (), path=path, property="requested-size", value=more)
            how = LIVE
    record.config = config.replace(memory=size, max_memory=max(size, config.max_memory))
    machines.save(machine)
    return how


async def _cpus(machines: Machines, machine: Machine, count: int) -> str:
    record, config = machine.record, machine.record.config
    if count < 1 or (record.state.running and count > config.max_cpus):
        raise Invalid(f"machine {machine.name} can have 1 to {config.max_cpus} processors (--max-cpus)")
    if count > config.max_cpus:
        check_not_saved(machine)
    how = LATER
    if record.state.running and count >= record.begun.cpus:
        assert machine.task is not None
        await plug_cpus(machine.task, record.begun.cpus, count)
        how = LIVE
    record.config = config.replace(cpus=count, max_cpus=max(count, config.max_cpus))
    machines.save(machine)
    return how


def _net_rate(machines: Machines, machine: Machine, limits: str) -> str:
    """Of all interfaces; "": none."""
    rate.parse(limits)
    record = machine.record
    if record.state.running:
        machines.networks.shape_taps(record.id, limits)
    record.config = record.config.replace(net_rate=limits)
    machines.save(machine)
    return LIVE


async def _limit(machines: Machines, machine: Machine, name: str, asked: MachineLimits) -> str:
    disk = next((one for one in machine.record.disks if name in one.names), None)
    if disk is None:
        raise NotFound(f"machine {machine.name} has no disk {name}")
    before, disk.limits = disk.limits, limits.merged(disk.limits, asked)
    try:
        if machine.record.state.running:
            await limits.apply(machine, disk)
        machines.save(machine)
    except BaseException:
        disk.limits = before
        raise
    return LIVE


async def _grow(machines: Machines, machine: Machine, volume: str, text: str) -> str:
    """A disk becomes larger; its guest sees that at once."""
    disk = next((one for one in machine.record.disks if volume in one.names), None)
    if disk is not None and disk.device:
        raise Conflict(f"disk {volume} is device {disk.device} of this host, which is as large as it is")
    if disk is None or not disk.volume:
        raise NotFound(f"machine {machine.name} has no disk {volume}")
    try:
        size = -(-parse_bytes(text) // (1 << 20)) * (1 << 20)
    except ValueError as error:
        raise Invalid(str(error)) from None
    now = machines.disks.size(disk.volume)
    if size < now:
        raise Invalid(f"disk {disk.volume} has {human_size(now)}, and does not become smaller: its end would be lost")
    if disk.read_only:
        raise Conflict(f"disk {disk.volume} is read-only")
    if machine.record.state.running:
        assert machine.task is not None
        node = await blocks.written(machine.task, machine, disk)
        await machine.task.ask("block_resize", (), node_name=node, size=size)
        return LIVE
    async with run.standing(machines, machine) as task:
        node = await blocks.written(task, machine, disk)
        await task.ask("block_resize", (), node_name=node, size=size)
    return LIVE


# ------------------------------------------------------------------------------------------------------------- disks


async def add_disk(machines: Machines, machine: Machine, asked: MachineDisk) -> str:
    """Its name; plugged into a machine that runs. The volume is made when there is none, and goes when it fails."""
    async with machine.changing():
        record = machine.record
        check_not_saved(machine)
        if record.state.running and (asked.cdrom or asked.bus not in ("", "virtio")):
            raise Conflict("only disks of the bus virtio can be added while a machine runs: stop it first")
        made: list[str] = []
        taken = {disk.serial for disk in record.disks}
        index = next(n for n in range(len(taken) + 1) if f"disk{n}" not in taken)
        try:
            create.check_disk(asked)
            disk = await create.make_disk(machines, machine.name, index, asked, made)
            create.check_number([*record.disks, disk], record.networks, passthrough.places(record.devices))
            if disk.volume and not disk.read_only:
                create.check_free(machines, disk.volume, made=made)
            with machines.taking(machine, disk.volume):
                if record.state.running:
                    await _plug_disk(machines, machine, disk)
                elif disk.device:
                    os.close(await block_devices.opened(machines, "", disk.device, disk.read_only))
        except BaseException:
            machines.disks.discard(made)
            raise
        record.disks.append(disk)
        machines.save(machine)
        machines.disks.keep(made)
    machines.publish(machine, "device-add", device=disk.serial)
    return disk.serial


def check_not_saved(machine: Machine) -> None:
    """Conflict: its state names the devices that it had."""
    if machine.record.saved:
        raise Conflict(f"machine {machine.name} is saved, and goes on with the devices that it has: start it first")


def free_slot(machine: Machine) -> int:
    """A port of a machine that runs. Conflict when there is none."""
    begun = machine.record.begun
    free = set(range(begun.ports)) - set(begun.places.values())
    if not free:
        raise Conflict(
            f"machine {machine.name} has {begun.ports} disks, networks and devices, and room for more when it is off"
        )
    return min(free)


async def _plug_disk(machines: Machines, machine: Machine, disk: Disk) -> None:
    task, slot = machine.task, free_slot(machine)
    assert task is not None
    with ExitStack() as held:
        if disk.device:
            layers = block_devices.layers(disk)
            fds = [await block_devices.opened(machines, "", disk.device, disk.read_only)]
            held.callback(os.close, fds[0])
        else:
            layers, fds = machines.disks.open(disk.volume, disk.read_only, held)
        sets = [_SETS + slot * 64 + level for level in range(len(layers))]
        async with AsyncExitStack() as undo:
            for number, fd in zip(sets, fds, strict=True):
                await task.ask("add-fd", [fd], fdset_id=number)
                undo.push_async_callback(_quietly, task, "remove-fd", fdset_id=number)
            names = [f"/dev/fdset/{number}" for number in sets]
            for node in board.disk_nodes(slot, layers, names):
                await task.ask_json("blockdev-add", node)
                undo.push_async_callback(_quietly, task, "blockdev-del", node_name=node["node-name"])
            made = BoardDisk(disk.serial, layers, slot, "virtio", disk.read_only)
            await task.ask_json("device_add", board.disk_device(made))
            undo.pop_all()
    machine.record.begun.places[disk.serial] = slot


async def _quietly(task: MachineTask, command: str, **arguments: Any) -> None:
    with suppress(CortenError):
        await task.ask(command, (), **arguments)


async def unplug(machine: Machine, device: str) -> None:
    """The guest has given it up when this returns. Conflict when it does not.

    It is asked again every few seconds: a guest that has just begun to run again may miss a press of the slot's button
    (QEMU refuses a second one while the first may still be seen, five seconds).
    """
    task = machine.task
    assert task is not None
    if await _is_gone(task, device):  # an earlier daemon was killed behind that, or the guest took its time
        return
    deadline = time.monotonic() + _GOES
    await task.ask("device_del", (), id=device)
    while time.monotonic() < deadline:
        if await _deleted(task, device, min(_AGAIN, deadline - time.monotonic())):
            return
        with suppress(Failed):  # it has gone just now, or may still be seen
            await task.ask("device_del", (), id=device)
    raise Conflict(f"the guest does not give up the device within {in_go(_GOES)}")


async def _deleted(task: MachineTask, device: str, seconds: float) -> bool:
    """Whether it goes within this time. QEMU's list says so: an event may come before its waiter."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = task.events
        if await _is_gone(task, device):
            return True
        await task.happens(seen, _LOOK)
    return False


async def _is_gone(task: MachineTask, device: str) -> bool:
    return all(one["name"] != device for one in await task.ask("qom-list", (), path="/machine/peripheral"))


async def close_files(task: MachineTask, place: int) -> None:
    """Those of a disk that is unplugged."""
    for node in reversed(await blocks.of(task, place)):
        number = await blocks.fd_set(task, node)
        await _delete_node(task, node)
        await _quietly(task, "remove-fd", fdset_id=number)


async def _delete_node(task: MachineTask, node: str) -> None:
    """QEMU keeps it for a moment behind the end of its device. Failed with its words when it does not end."""
    deadline = time.monotonic() + _AGAIN
    while True:
        try:
            await task.ask("blockdev-del", (), node_name=node)
            return
        except Failed:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_LOOK)


async def remove_disk(machines: Machines, machine: Machine, name: str) -> None:
    """By its name or its volume; the volume stays. Conflict for what cannot leave a machine that runs."""
    async with machine.changing():
        record = machine.record
        disk = next((one for one in record.disks if name in one.names), None)
        if disk is None:
            raise NotFound(f"machine {machine.name} has no disk {name}")
        check_not_saved(machine)
        if record.state.running:
            if disk.bus != "virtio":
                raise Conflict(f"disk {name} is on the bus {disk.bus}, and cannot be removed while the machine runs")
            slot = record.begun.places[disk.serial]
            await unplug(machine, f"disk{slot}")
            assert machine.task is not None
            await close_files(machine.task, slot)
            del record.begun.places[disk.serial]
        before = record.volumes
        record.disks.remove(disk)
        machines.changed(machine, before)
        machines.save(machine)
    machines.publish(machine, "device-remove", device=disk.serial)
