"""The host's devices of a machine come and go: while it is off, and those of USB while it runs as well."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack

from corten.errors import Conflict, NotFound
from corten.machines import blocks, change, create, host_devices, passthrough
from corten.machines.host_devices import Found
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import HostDevice
from corten.spec.docker.machine import MachineDevice
from corten.tasks.machine_tasks import MachineTask
from corten.vm import board
from corten.vm import passthrough as vm
from corten.vm.passthrough import CONTROLLER, Passed

_SETS = 50000  # the first number of descriptors' sets


async def add(machines: Machines, machine: Machine, asked: MachineDevice) -> str:
    """Its name, as it is given and shown: "usb=3.5". Errors of `passthrough.wanted`; Conflict."""
    async with machine.changing():
        record = machine.record
        (device,) = await passthrough.wanted(machines, [asked], record.devices)
        change.check_not_saved(machine)
        create.check_number(record.disks, record.networks, passthrough.places([*record.devices, device]))
        if record.state.running:
            await _plug(machines, machine, device)
        record.devices.append(device)
        machines.save(machine)
    machines.publish(machine, "device-add", device=device.name)
    return device.name


async def _plug(machines: Machines, machine: Machine, device: HostDevice) -> None:
    if device.kind != "usb":
        raise Conflict(f"device {device.name} can be added while machine {machine.name} is off: stop it first")
    task, found = machines.task(machine), await passthrough.found(machines, "", device)
    passed = Passed(device.kind, device.address)
    async with AsyncExitStack() as undo:
        await _plug_controller(machine, task)
        number = await _give(machines, task, found, vm.device_id(passed), undo)
        await task.ask_json("device_add", vm.device(passed, "", f"/dev/fdset/{number}"))
        undo.pop_all()


async def _plug_controller(machine: Machine, task: MachineTask) -> None:
    """It stays when no device is left."""
    places = machine.record.begun.places
    if CONTROLLER not in places:
        slot = change.free_slot(machine)
        await task.ask_json("device_add", vm.controller(board.port(slot)))
        places[CONTROLLER] = slot


async def _give(machines: Machines, task: MachineTask, found: Found, name: str, undo: AsyncExitStack) -> int:
    """The number of a set of descriptors, called `name`, that has the device's file."""
    taken = {one["fdset-id"] for one in await task.ask("query-fdsets")}
    number = next(n for n in range(_SETS, _SETS + len(taken) + 1) if n not in taken)
    fd = await passthrough.usb_file(machines, found)
    try:
        await task.ask("add-fd", [fd], fdset_id=number, opaque=name)
    finally:
        os.close(fd)
    undo.push_async_callback(blocks.quietly, task, "remove-fd", {"fdset-id": number})
    return number


async def remove(machines: Machines, machine: Machine, asked: MachineDevice) -> None:
    """NotFound; Conflict where the guest does not give it up."""
    device = host_devices.parse(asked.kind, asked.address)
    async with machine.changing():
        record = machine.record
        if device not in record.devices:
            raise NotFound(f"machine {machine.name} has no device {device.name}")
        if record.state.running:
            await _unplug(machines.task(machine), machine, vm.device_id(Passed(device.kind, device.address)))
            record.begun.places.pop(device.name, None)
        record.devices.remove(device)
        machines.save(machine)
    machines.publish(machine, "device-remove", device=device.name)


async def _unplug(task: MachineTask, machine: Machine, name: str) -> None:
    await change.unplug(machine, name)
    for one in await task.ask("query-fdsets"):
        if any(fd.get("opaque") == name for fd in one["fds"]):
            await blocks.quietly(task, "remove-fd", {"fdset-id": one["fdset-id"]})
