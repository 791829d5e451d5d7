"""External snapshots: what is on each disk becomes a volume of its own, on which the disk is based from then on;
memory is a file in the machine's directory.

Disks of any format have them, they cost milliseconds, and what was written since is in files of its own. They are a
tree: a revert begins the disk anew on what the snapshot has, and others stay. To remove one is to merge it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import AsyncExitStack, ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path

from corten.aio.threads import alone
from corten.errors import Conflict, CortenError
from corten.kernel.sync import sync_directory
from corten.machines import agent, blocks, commit, plan, state
from corten.machines.create import check_free
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Disk, Record, Snapshot
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask
from corten.vm import board
from corten.vm.board import Layer

_PLACE = "snapshots"
_SETS = 100000  # of descriptors, from here on


def written(record: Record) -> list[Disk]:
    return [disk for disk in record.disks if disk.volume and not disk.read_only]


async def take(machines: Machines, machine: Machine, name: str, memory: bool, quiesce: bool) -> dict[str, str]:
    """The volume that has what is on each disk, by its serial. Nothing has changed when it fails, but for what could
    not be undone, which makes a chain longer."""
    task = machines.task(machine) if machine.record.state.running else None
    if quiesce and task is None:
        raise Conflict(f"machine {machine.name} does not run: there is nothing to freeze")
    disks, bases = written(machine.record), dict[str, str]()
    async with AsyncExitStack() as undo:
        for disk in disks:
            bases[disk.serial] = await machines.disks.fork(disk.volume)
            undo.callback(_undone, machines, disk)
        if task is None:
            await alone(partial(_keep_variables, machine, name))
        else:
            await _switch(machines, machine, task, name, memory, quiesce, undo)
        undo.pop_all()
    for disk in disks:  # what was written since the last one is known to the file below alone
        machine.record.backups.pop(disk.serial, None)
    return bases


def _undone(machines: Machines, disk: Disk) -> None:
    machines.disks.absorb(disk.volume)


async def _switch(
    machines: Machines,
    machine: Machine,
    task: MachineTask,
    name: str,
    memory: bool,
    quiesce: bool,
    undo: AsyncExitStack,
) -> None:
    """The guest writes to the new files, all of them from one instant on."""
    actions = [await _overlay(machines, machine, task, disk, undo) for disk in written(machine.record)]
    stands = memory or machine.record.config.firmware == "uefi"
    async with agent.frozen(task) if quiesce else nullcontext(), commit.still(task) if stands else nullcontext():
        await task.ask_json("transaction", {"actions": actions})
        undo.pop_all()
        try:
            if stands:
                await alone(partial(_keep_variables, machine, name))
            if memory:
                await state.write_to(_file(machine, name, "state"), task)
        except BaseException:
            await _merged_again(machines, machine)
            raise


async def _merged_again(machines: Machines, machine: Machine) -> None:
    for disk in written(machine.record):
        with suppress(CortenError):
            await commit.merge(machines, machine, disk, disk.volume)


async def _overlay(machines: Machines, machine: Machine, task: MachineTask, disk: Disk, undo: AsyncExitStack) -> Json:
    """QEMU has the disk's new file; the action that makes it the one that is written to."""
    place = machine.record.begun.places[disk.serial]
    top, nodes = await blocks.written(task, machine, disk), await blocks.of(task, place)
    level = blocks.level(nodes[-1]) + 1
    number, node = _SETS + place * 10000 + level, board.node(place, level)
    with ExitStack() as held:
        fds = machines.disks.open(disk.volume, False, held)[1]
        await task.ask("add-fd", [fds[-1]], fdset_id=number)
    undo.push_async_callback(blocks.quietly, task, "remove-fd", {"fdset-id": number})
    await task.ask_json("blockdev-add", board.disk_node(node, Layer("qcow2", False), f"/dev/fdset/{number}", None))
    undo.push_async_callback(blocks.quietly, task, "blockdev-del", {"node-name": node})
    return {"type": "blockdev-snapshot", "data": {"node": top, "overlay": node}}


async def revert(machines: Machines, machine: Machine, snapshot: Snapshot) -> None:
    """Its disks are empty ones on what the snapshot has; with memory it is saved as it was then. For a machine that is
    off."""
    for disk in snapshot.disks:
        if disk.volume:
            machines.volumes.disk(disk.volume)
            if not disk.read_only:
                check_free(machines, disk.volume, machine.id)
    machine.record.reverting = snapshot.name
    machines.save(machine)
    await complete(machines, machine)


async def complete(machines: Machines, machine: Machine) -> None:
    """Of a revert, once the record says that there is one; a daemon's start does it again after a kill."""
    record = machine.record
    snapshot = next(one for one in record.snapshots if one.name == record.reverting)
    before = record.volumes
    for disk in snapshot.disks:
        if base := snapshot.bases.get(disk.serial, ""):
            machines.disks.start_from(disk.volume, base)
    await alone(partial(_put_back, machine, snapshot))
    now = record.config
    record.config = snapshot.config.replace(restart_policy=now.restart_policy, labels=now.labels)
    record.disks, record.networks = list(snapshot.disks), dict(snapshot.networks)
    record.addresses = dict(snapshot.addresses) or record.addresses
    record.saved, record.begun, record.reverting = snapshot.memory, snapshot.begun, ""
    record.backups = {}
    machines.changed(machine, before)
    machines.save(machine)


async def remove(machines: Machines, machine: Machine, snapshot: Snapshot) -> None:
    """What it has is merged with what was written since; where several disks are based on that, or another machine's,
    it stays a volume."""
    record = machine.record
    record.snapshots = [one for one in record.snapshots if one.name != snapshot.name]
    machines.save(machine)
    await alone(partial(_forget, machine, snapshot.name))
    for base in snapshot.bases.values():
        machines.volumes.release(base, machine.id)
    for base in snapshot.bases.values():
        await _merged(machines, machine, base)


async def _merged(machines: Machines, machine: Machine, base: str) -> None:
    users = machines.volumes.users(base)
    if not users:
        with suppress(CortenError):
            machines.volumes.remove(base)
        return
    for disk in written(machine.record):
        chain = machines.disks.names(disk.volume)
        if base in chain[:-1]:
            upper = chain[chain.index(base) + 1]
            if users == {f"volume {upper}"}:
                await commit.merge(machines, machine, disk, upper)
            return


# ------------------------------------------------------------------------------------------------------------- files


def _file(machine: Machine, name: str, what: str) -> Path:
    return machine.directory / _PLACE / f"{name}.{what}"


def _keep_variables(machine: Machine, name: str) -> None:
    """Of firmware, and the directory for what else is kept. For a machine that stands still."""
    place = machine.directory / _PLACE
    place.mkdir(mode=0o700, exist_ok=True)
    if (variables := machine.directory / plan.VARIABLES).exists():
        _copy(variables, _file(machine, name, "variables"))
    sync_directory(machine.directory)


def _put_back(machine: Machine, snapshot: Snapshot) -> None:
    if (variables := _file(machine, snapshot.name, "variables")).exists():
        _copy(variables, machine.directory / plan.VARIABLES)
    state.path(machine).unlink(missing_ok=True)
    if snapshot.memory:
        os.link(_file(machine, snapshot.name, "state"), state.path(machine))
    sync_directory(machine.directory)


def _copy(source: Path, target: Path) -> None:
    fresh = target.with_name(f".{target.name}.new")
    with source.open("rb") as given, open(fresh, "wb") as file:
        shutil.copyfileobj(given, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(target)
    sync_directory(target.parent)


def _forget(machine: Machine, name: str) -> None:
    for what in ("state", "variables"):
        _file(machine, name, what).unlink(missing_ok=True)


def sweep(machine: Machine) -> None:
    """At the daemon's start: files of snapshots that were not completed, or are removed."""
    known = {path for one in machine.record.snapshots for path in
             (_file(machine, one.name, "state"), _file(machine, one.name, "variables"))}  # fmt: skip
    place = machine.directory / _PLACE
    for path in place.iterdir() if place.is_dir() else ():
        if path not in known:
            path.unlink(missing_ok=True)
