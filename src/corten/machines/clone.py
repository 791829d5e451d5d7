"""A second machine like another one: its disks are based on what that one's have now, or copies of it."""

from __future__ import annotations

from pathlib import Path

from corten.aio.threads import DISK, run_uncancelled
from corten.errors import Conflict
from corten.machines import create, images, passthrough
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Disk
from corten.spec.docker.machine import MachineDisk


async def clone(machines: Machines, machine: Machine, name: str, full: bool) -> Machine:
    """Conflict for a machine that runs, or is saved. A linked one costs milliseconds and no space: what both have is
    kept once, in volumes that are called NAME-baseN. Names, addresses and published ports are the clone's own."""
    async with machine.changing():
        record = machine.record
        if record.state.running or record.saved:
            raise Conflict(f"machine {machine.name} is running or saved: stop it first")
        passthrough.refuse(machine, "be cloned")
        if any(not one.external for one in record.snapshots) and not full:
            raise Conflict(f"machine {machine.name} has snapshots, which stay with their disks: clone it in full")
        name = name or f"{machine.name}-clone"
        disks = [await _disk(machines, machine, disk, full) for disk in record.disks if disk.volume]
        asked = record.config.replace(disks=disks, port_bindings=None)

        async def furnish(directory: Path) -> None:
            await run_uncancelled(lambda: images.linked(record.config, machine.directory, directory), pool=DISK)

        return await create.create(machines, name, asked, furnish=furnish)


async def _disk(machines: Machines, machine: Machine, disk: Disk, full: bool) -> MachineDisk:
    volume = disk.volume
    if disk.read_only:
        return MachineDisk(volume=volume, bus=disk.bus, read_only=True, cdrom=disk.cdrom)
    if full:
        chain = machines.disks.chain(volume)
        if len(chain) > 1 or chain[-1].format != "qcow2":
            raise Conflict(f"disk {volume} is based on another one, or raw: it can be cloned, and not copied")
        return MachineDisk(source=str(chain[-1].path), bus=disk.bus)
    base = await machines.disks.freeze(volume)
    if machine.record.backups.pop(disk.serial, ""):  # what was written since is known to the frozen file alone
        machines.save(machine)
    return MachineDisk(backing=base, bus=disk.bus)
