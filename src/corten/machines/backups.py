"""Backups of a machine's disk: volumes of their own, each based on the one before, with what was written in between.

QEMU keeps a bitmap of that in the disk's file (`block-dirty-bitmap-add`, persistent), so a backup takes what has
changed, while the machine runs. A backup is a disk as any other: to restore it is to clone it.
"""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack, ExitStack, nullcontext

from corten.errors import Conflict, NotFound
from corten.machines import agent, blocks, run
from corten.machines.jobs import finished
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Disk
from corten.spec.docker.machine import MachineBackup
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask
from corten.vm import board

_PLACE = 900  # of the nodes of a backup, beside those of disks
_SETS = 60000


async def create(machines: Machines, machine: Machine, asked: MachineBackup) -> Json:
    """Of a disk, to the new volume. {"Volume", "Disk", "Base": volume that
    it is based on, "" for a full one}. Conflict for what cannot be; nothing is left when it fails."""
    volume = asked.volume
    async with machine.changing():
        disk = _disk(machine, asked.disk)
        if asked.quiesce and not machine.record.state.running:
            raise Conflict(f"machine {machine.name} does not run: there is nothing to freeze")
        if machines.disks.file(disk.volume).format != "qcow2":
            raise Conflict(f"disk {disk.volume} is raw, which cannot remember what was written")
        if any(each.name == volume for each in machines.volumes.list()):
            raise Conflict(f"volume {volume} is there already")
        base = "" if asked.full else machine.record.backups.get(disk.serial, "")
        if base and all(each.name != base for each in machines.volumes.list()):
            raise Conflict(f"the last backup {base} is gone: take a full one")
        size = machines.disks.size(disk.volume)
        options = {"backing": base, "size": f"{size}b"} if base else {"size": f"{size}b"}
        await machines.disks.create(volume, options, {"corten.backup-of": disk.volume}, unsettled=True)
        try:
            if machine.record.state.running:
                assert machine.task is not None
                await _back_up(machines, machine, machine.task, disk, volume, bool(base), asked.quiesce)
            else:
                async with run.standing(machines, machine) as task:
                    await _back_up(machines, machine, task, disk, volume, bool(base))
        except BaseException:
            machines.disks.discard([volume])
            raise
        machine.record.backups[disk.serial] = volume
        machines.save(machine)
        machines.disks.keep([volume])
    machines.publish(machine, "backup", volume=volume)
    return {"Volume": volume, "Disk": disk.volume, "Base": base}


def _disk(machine: Machine, name: str) -> Disk:
    written = [disk for disk in machine.record.disks if disk.volume and not disk.read_only]
    found = next((disk for disk in written if not name or name in (disk.serial, disk.volume)), None)
    if found is None:
        raise NotFound(f"machine {machine.name} has no disk {name or 'to back up'}")
    return found


async def _back_up(
    machines: Machines,
    machine: Machine,
    task: MachineTask,
    disk: Disk,
    volume: str,
    incremental: bool,
    quiesce: bool = False,
) -> None:
    source = await blocks.written(task, machine, disk)
    if incremental and not await blocks.knows_written(task, source):
        last = machine.record.backups[disk.serial]
        text = f"what was written to {disk.serial} since its last backup {last} is not known any more"
        raise Conflict(f"{text}: take a full one (--full)")
    async with AsyncExitStack() as undo:
        with ExitStack() as held:
            layers, fds = machines.disks.open(volume, False, held)
            sets = [_SETS + level for level in range(len(layers))]
            for number, fd in zip(sets, fds, strict=True):
                await task.ask("add-fd", [fd], fdset_id=number)
                undo.push_async_callback(blocks.quietly, task, "remove-fd", {"fdset-id": number})
        for node in board.disk_nodes(_PLACE, layers, [f"/dev/fdset/{number}" for number in sets]):
            await task.ask_json("blockdev-add", node)
            undo.push_async_callback(blocks.quietly, task, "blockdev-del", {"node-name": node["node-name"]})
        job = f"backup{secrets.token_hex(4)}"
        wanted: Json = {"job-id": job, "device": source, "target": board.node(_PLACE, len(layers) - 1)}
        wanted |= {"auto-dismiss": False, "sync": "full"}
        async with agent.frozen(task) if quiesce else nullcontext():  # until it has begun: it has what was there then
            if incremental:
                wanted |= {"sync": "incremental", "bitmap": blocks.BITMAP}
                await task.ask_json("blockdev-backup", wanted)
            else:
                await blocks.forget_written(task, source)
                bitmap = {"node": source, "name": blocks.BITMAP, "persistent": True}
                begin = [
                    {"type": "block-dirty-bitmap-add", "data": bitmap},
                    {"type": "blockdev-backup", "data": wanted},
                ]
                await task.ask_json("transaction", {"actions": begin})
        await finished(task, job, "backup")
