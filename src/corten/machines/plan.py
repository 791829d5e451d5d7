"""From a machine's record to its board, and to the descriptors of its files."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from corten.aio.threads import answered
from corten.errors import Conflict, NotFound
from corten.guests import host
from corten.machines import block_devices, passthrough
from corten.machines.create import MODELS
from corten.machines.disks import given
from corten.machines.images import own_files
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Begun, of_network
from corten.vm import board
from corten.vm.board import Board, BoardDisk, BoardInterface, Layer
from corten.vm.passthrough import CONTROLLER

# Each port costs some milliseconds of the pause of a migration: QEMU looks at all of them when it reads a state.
_PORTS, _MORE = 8, 4  # there are at least so many, and so many more than devices at the start
CD, VARIABLES, STATE, TPM = "cloud-init.iso", "uefi-variables.qcow2", "state", "tpm"


Devices = Literal["opened", "shown", "none"]


class Planned(NamedTuple):
    """`fds` are in the order of `vm.board.files`."""

    board: Board
    fds: list[int]


def begun(machine: Machine) -> Begun:
    """Of a run that does not go on from a state."""
    record, config = machine.record, machine.record.config
    networks = map(of_network, record.networks)
    names = [*(disk.serial for disk in record.disks), *networks, *passthrough.places(record.devices)]
    ports = min(max(_PORTS, len(names) + _MORE), board.PORTS)
    return Begun(config.memory, config.cpus, {name: place for place, name in enumerate(names)}, ports)


async def planned(
    machines: Machines, machine: Machine, begun: Begun, held: ExitStack, devices: Devices = "opened"
) -> Planned:
    """`held` closes the descriptors. `devices` of this host are opened for a run; are in the board alone, for a person;
    or are left out. Unsupported without QEMU, NotFound and Corrupt for lost files; errors of `block_devices` and
    `passthrough`."""
    record, config = machine.record, machine.record.config
    fds: list[int] = []
    for path in _firmware_files(machine):
        if config.firmware == "kernel":  # named by a client, and anything by now
            fds.append(await answered(partial(given, str(path)), str(path), os.close))
            held.callback(os.close, fds[-1])
        else:
            fds.append(_open(path, os.O_RDWR if config.firmware == "uefi" else os.O_RDONLY, held))
    disks = []
    for disk in record.disks:
        if disk.device:
            if devices == "none":
                continue
            layers, opened = block_devices.layers(disk), [-1]
            if devices == "opened":
                opened = [await block_devices.opened(machines, record.id, disk.device, disk.read_only)]
                held.callback(os.close, opened[0])
        elif disk.volume:
            layers, opened = machines.disks.open(disk.volume, disk.read_only, held)
        elif disk.empty:
            layers, opened = (), []
        else:
            layers, opened = (Layer("raw", True),), [_open(machine.directory / CD, os.O_RDONLY, held)]
        disks.append(BoardDisk(disk.serial, layers, begun.places[disk.serial], disk.bus, disk.read_only, disk.cdrom))
        fds += opened
    if devices == "opened":
        passed, opened = await passthrough.opened(machines, record, begun, held)
        fds += opened
    elif devices == "shown":
        passed = passthrough.shown(record, begun)
    else:
        passed = ()
    accelerator = await machines.guests.accelerator()
    model = MODELS[config.network_model]
    now = {name: endpoint.mac for name, endpoint in machine.endpoints.items()}
    macs = {name: now.get(name) or record.macs.get(name, "") for name in record.networks}
    made = Board(
        qemu=host.qemu(),
        accelerator=accelerator.name,
        uuid=record.uuid,
        memory=begun.memory,
        max_memory=config.max_memory,
        cpus=begun.cpus,
        max_cpus=config.max_cpus,
        firmware="kernel" if config.firmware == "image" else config.firmware,
        initrd=bool(config.initrd),
        kernel_arguments=config.kernel_arguments,
        disks=tuple(disks),
        interfaces=tuple(
            BoardInterface(mac, begun.places[of_network(name)], model) for name, mac in macs.items() if mac
        ),
        video=(config.video or "vga") if config.display else "",
        ports=begun.ports,
        secure_boot=config.secure_boot,
        tpm=config.tpm,
        passed=passed,
        usb=begun.places.get(CONTROLLER, -1),
    )
    return Planned(made, fds)


def paths(machines: Machines, machine: Machine) -> list[str]:
    """Of the files, in the same order: for a person."""
    found = [str(path) for path in _firmware_files(machine)]
    for disk in machine.record.disks:
        if disk.device:
            found.append(disk.device)
        elif disk.volume:
            found += [str(file.path) for file in machines.disks.chain(disk.volume)]
        elif not disk.empty:
            found.append(str(machine.directory / CD))
    return found


def _firmware_files(machine: Machine) -> list[Path]:
    config = machine.record.config
    if config.firmware == "uefi":
        return [machine.directory / VARIABLES]
    if config.firmware == "image":
        return own_files(config, machine.directory)
    return [Path(path) for path in (config.kernel, config.initrd) if path]


def _open(path: Path, flags: int, held: ExitStack) -> int:
    try:
        fd = os.open(path, flags | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}, which the machine needs") from None
    held.callback(os.close, fd)
    return fd


async def shown(machines: Machines, machine: Machine) -> list[str]:
    """The command line, for a person; devices of the networks are called tap0, tap1..."""
    with ExitStack() as held:
        if machine.record.config.cloud_init is not None and not (machine.directory / CD).exists():
            raise Conflict(f"machine {machine.name} has not been started: its CD for cloud-init is made then")
        now = machine.record.begun if machine.record.state.running else begun(machine)
        made = (await planned(machines, machine, now, held, "shown")).board
    files = paths(machines, machine) + await passthrough.usb_paths(machines, machine.record)
    return board.shown(made, files, [f"tap{index}" for index in range(len(made.interfaces))])
