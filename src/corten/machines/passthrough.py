"""What machines have of this host's own devices, and what such machines therefore cannot do.

A device has a state that no one but itself knows, and there is one of it: what is written to a file, sent elsewhere or
doubled would lack it. One machine has it at a time, also when it is off.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from corten.aio.threads import answered
from corten.errors import Conflict, CortenError, Invalid, NotFound
from corten.machines import host_devices
from corten.machines.host_devices import Found
from corten.machines.machine import Machine
from corten.machines.records import Begun, HostDevice, Record
from corten.spec.docker.machine import MachineDevice
from corten.vm.passthrough import CONTROLLER, Passed

if TYPE_CHECKING:
    from corten.machines.machines import Machines

_MOST = 16  # of one machine


def names(record: Record) -> list[str]:
    """Of the host's devices that it has, as they are asked for."""
    return [*(disk.device for disk in record.disks if disk.device), *(device.name for device in record.devices)]


def refuse(machine: Machine, what: str) -> None:
    """Conflict for one that has devices; `what` it would do: "be saved"."""
    if found := names(machine.record):
        raise Conflict(f"machine {machine.name} has {found[0]} of this host, and cannot {what}: take that out first")


def refuse_foreign(asked: Sequence[MachineDevice] | None) -> None:
    """Of a machine from elsewhere: what of this host it has does not say who describes it. Invalid."""
    if asked:
        raise Invalid("a machine that comes from elsewhere has no devices of this host: add them when it is there")


def places(devices: Sequence[HostDevice]) -> list[str]:
    """What takes a place in a machine that has these (`Begun.places`)."""
    by_vfio = [device.name for device in devices if device.kind != "usb"]
    return by_vfio + [CONTROLLER] * (len(by_vfio) < len(devices))


async def wanted(
    machines: Machines, asked: Sequence[MachineDevice], has: Sequence[HostDevice] = ()
) -> list[HostDevice]:
    """Those that a machine gets beside those that it `has`: all are there, and no machine has one. Invalid, NotFound,
    Unsupported, Conflict, Unavailable."""
    devices = [host_devices.parse(each.kind, each.address) for each in asked]
    if len(has) + len(devices) > _MOST:
        raise Invalid(f"a machine has at most {_MOST} devices of its host, not {len(has) + len(devices)}")
    for index, device in enumerate(devices):
        if device in has or device in devices[:index]:
            raise Conflict(f"device {device.name} is given twice")
        await found(machines, "", device)
    return devices


async def found(machines: Machines, own: str, device: HostDevice) -> Found:
    """What it is now. `own`: the id of the machine that has it, "" for a device that none has yet. Errors as of
    `wanted`."""
    root = machines.settings.host
    others = [(machine.name, each) for machine in machines.by_id.values() if machine.id != own
              for each in machine.record.devices]  # fmt: skip

    def look() -> Found:
        one = host_devices.find(root, device)
        for name, each in others:
            if each == device or _same(root, one, each):
                raise Conflict(f"device {device.name} is in use by machine {name}")
            if one.group >= 0 and one.group == host_devices.group(root, each):
                raise Conflict(f"device {device.name} is in IOMMU group {one.group} together with {each.name}, which "
                               f"machine {name} has: one machine has all of a group")  # fmt: skip
        return one

    return await answered(look, f"device {device.name}")


def _same(root: Path, one: Found, other: HostDevice) -> bool:
    """A USB device has two addresses."""
    if one.kind != "usb" or other.kind != "usb":
        return False
    try:
        return host_devices.find(root, other).path == one.path
    except CortenError:  # it is not there
        return False


async def opened(
    machines: Machines, record: Record, begun: Begun, held: ExitStack
) -> tuple[tuple[Passed, ...], list[int]]:
    """The devices of a machine that begins, and descriptors of those of USB, which `held` closes. Errors as of
    `wanted`."""
    made, fds = [], []
    for device in record.devices:
        one = await found(machines, record.id, device)
        if one.path:
            fds.append(await usb_file(machines, one))
            held.callback(os.close, fds[-1])
        made.append(Passed(device.kind, device.address, begun.places.get(device.name, -1), one.group))
    return tuple(made), fds


def shown(record: Record, begun: Begun) -> tuple[Passed, ...]:
    """The same without a look at them; groups of the IOMMU are in no command line."""
    return tuple(Passed(one.kind, one.address, begun.places.get(one.name, -1)) for one in record.devices)


async def usb_file(machines: Machines, one: Found) -> int:
    """A descriptor of a USB device, which the caller closes. NotFound when it has gone, Unavailable."""
    path = machines.settings.host / one.path[1:]
    try:
        return await answered(partial(os.open, path, os.O_RDWR | os.O_CLOEXEC), one.path, os.close)
    except OSError as error:
        raise NotFound(f"USB device {one.address} cannot be opened: {one.path}: {error.strerror}") from None


async def usb_paths(machines: Machines, record: Record) -> list[str]:
    """Of the files of its USB devices, for a person."""
    paths = []
    for device in record.devices:
        if device.kind == "usb":
            try:
                paths.append((await found(machines, record.id, device)).path)
            except CortenError:
                paths.append("/dev/bus/usb/BUS/NUMBER")
    return paths
