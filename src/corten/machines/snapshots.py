"""Snapshots of machines: all their disks, and the memory of one that runs, kept in the qcow2 files by QEMU.

One of a machine that is off is taken by a QEMU that stands still, and its revert leaves it off. One with memory goes on
where it was, whatever the machine does at that time. Everything is done by jobs (`snapshot-save`, `-load`, `-delete`).
External ones, in files beneath the disks, are `external`.
"""

from __future__ import annotations

import re
import secrets
import shutil
from typing import NamedTuple

from corten.errors import Conflict, Exhausted, Failed, Invalid, NotFound
from corten.machines import blocks, external, passthrough, run
from corten.machines.create import check_free
from corten.machines.jobs import finished
from corten.machines.life import halted
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Snapshot
from corten.spec.docker import times
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask
from corten.units.sizes import human_size

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}\Z")
_LIMIT = 128  # of one machine


class Kind(NamedTuple):
    """`external`: see there. `disk_only`, of those: without memory. `quiesce`: QEMU's agent has the guest's file
    systems written out for that moment."""

    external: bool = False
    disk_only: bool = False
    quiesce: bool = False


async def create(machines: Machines, machine: Machine, name: str, kind: Kind) -> Snapshot:
    """Of all disks, with the memory when it runs. Invalid, Conflict; Exhausted and Failed with QEMU's words."""
    record = machine.record
    name = name or f"snapshot-{len(record.snapshots) + 1}"
    if not _NAME.match(name):
        raise Invalid(f"Invalid snapshot name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    async with machine.changing():
        if _find(machine, name) is not None:
            raise Conflict(f"machine {machine.name} has a snapshot {name} already")
        if len(record.snapshots) >= _LIMIT:
            raise Conflict(f"machine {machine.name} has {_LIMIT} snapshots: remove one first")
        runs, memory, bases = record.state.running, record.state.running, dict[str, str]()
        if record.saved:
            raise Conflict(f"machine {machine.name} is saved: start it first")
        if runs and not kind.disk_only:
            passthrough.refuse(machine, "have a snapshot with its memory")
        _check(machines, machine, kind.external)
        if kind.external:
            memory = runs and not kind.disk_only
            bases = await external.take(machines, machine, name, memory, kind.quiesce)
        elif runs:
            assert machine.task is not None
            await _save(machines, machine, machine.task, name)
        else:
            async with run.standing(machines, machine) as task:
                await _save(machines, machine, task, name)
        made = Snapshot(
            name,
            times.now(),
            record.config,
            list(record.disks),
            dict(record.networks),
            record.begun,
            dict(record.addresses),
            memory,
            bases,
        )
        record.snapshots.append(made)
        record.taking = ""
        for base in bases.values():
            machines.volumes.hold(base, machine.id)
        machines.save(machine)
    machines.publish(machine, "snapshot", snapshot=name)
    return made


async def revert(machines: Machines, machine: Machine, name: str) -> None:
    """The machine is as it was then; what it has done since is lost, its snapshots are not. One that runs is ended."""
    _revertible(machine, name)
    async with halted(machines, machine):
        snapshot = _revertible(machine, name)  # it may have been removed meanwhile
        if snapshot.external:
            await external.revert(machines, machine, snapshot)
        else:
            await _revert(machines, machine, snapshot)
    if snapshot.external and snapshot.memory:
        await run.start(machines, machine)
    machines.publish(machine, "revert", snapshot=name)


def _revertible(machine: Machine, name: str) -> Snapshot:
    snapshot = _found(machine, name)
    if snapshot.memory:
        passthrough.refuse(machine, "go back to a snapshot with its memory")
    return snapshot


async def _revert(machines: Machines, machine: Machine, snapshot: Snapshot) -> None:
    """To one that is in the disks. The caller holds the lock."""
    record, volumes = machine.record, machine.record.volumes
    for disk in snapshot.disks:
        if disk.volume and not disk.read_only:
            check_free(machines, disk.volume, machine.id)
    before = record.config, record.disks, record.networks, record.addresses, record.saved
    now = record.config
    record.config = snapshot.config.replace(restart_policy=now.restart_policy, labels=now.labels)
    record.disks, record.networks, record.saved = list(snapshot.disks), dict(snapshot.networks), False
    record.addresses = dict(snapshot.addresses) or record.addresses
    try:
        if snapshot.memory:
            await run.start_locked(
                machines, machine, lambda task: _load(machines, machine, task, snapshot.name), snapshot.begun
            )
        else:
            async with run.standing(machines, machine) as task:
                await _load(machines, machine, task, snapshot.name)
    except BaseException:
        record.config, record.disks, record.networks, record.addresses, record.saved = before
        raise
    machines.changed(machine, volumes)
    machines.save(machine)


async def remove(machines: Machines, machine: Machine, name: str) -> None:
    async with machine.changing():
        snapshot = _found(machine, name)
        if snapshot.external:
            await external.remove(machines, machine, snapshot)
        elif machine.record.state.running:
            assert machine.task is not None
            await _job(machine, machine.task, "snapshot-delete", name)
        else:
            async with run.standing(machines, machine) as task:
                await _job(machine, task, "snapshot-delete", name)
        machine.record.snapshots = [one for one in machine.record.snapshots if one.name != name]
        machines.save(machine)
    machines.publish(machine, "snapshot-remove", snapshot=name)


def _find(machine: Machine, name: str) -> Snapshot | None:
    return next((one for one in machine.record.snapshots if one.name == name), None)


def _found(machine: Machine, name: str) -> Snapshot:
    """NotFound."""
    if (found := _find(machine, name)) is None:
        raise NotFound(f"machine {machine.name} has no snapshot {name}")
    return found


def _check(machines: Machines, machine: Machine, apart: bool) -> None:
    if any(one.external != apart for one in machine.record.snapshots):
        kind = "in its disks" if apart else "external ones, which --external makes one more of"
        raise Conflict(f"machine {machine.name} has snapshots already, {kind}: it has one kind at a time")
    written = external.written(machine.record)
    raw = [] if apart else [disk.volume for disk in written if machines.disks.file(disk.volume).format != "qcow2"]
    if raw:
        raise Conflict(f"disk {raw[0]} is raw, which keeps no snapshots: take it with --external")
    if not written:
        raise Conflict(f"machine {machine.name} has no disk that could keep a snapshot")


async def nodes(machine: Machine, task: MachineTask) -> list[str]:
    """Of QEMU's block layer, those that are written to: the first one keeps the memory."""
    record = machine.record
    disks = external.written(record)
    found = [await blocks.written(task, machine, disk) for disk in disks]
    return [*found, "variables"] if record.config.firmware == "uefi" else found


async def _save(machines: Machines, machine: Machine, task: MachineTask, tag: str) -> None:
    """Exhausted where the disk that keeps the memory has no room for it: QEMU says "Input/output error" then."""
    await forget_taken(machines, machine, task)
    machine.record.taking = tag
    machines.save(machine)
    try:
        await _job(machine, task, "snapshot-save", tag)
    except Failed as error:
        kept = machines.disks.file(external.written(machine.record)[0].volume).path
        left, memory = shutil.disk_usage(kept).free, machine.record.begun.memory
        if left > memory:
            raise
        sizes = f"{human_size(left)} for {human_size(memory)} of memory"
        raise Exhausted(f"{error}: no space left on the disk of {kept} ({sizes})") from error


async def _load(machines: Machines, machine: Machine, task: MachineTask, tag: str) -> None:
    """QEMU loads none into a disk of which it notes what is written: the next backup is a full one."""
    for node in await nodes(machine, task):
        await blocks.forget_written(task, node)
    machine.record.backups = {}
    await _job(machine, task, "snapshot-load", tag)


async def forget_taken(machines: Machines, machine: Machine, task: MachineTask) -> None:
    """One that could not be recorded, as the daemon, its supervisor or QEMU was killed: it may be in the disks."""
    record = machine.record
    if record.taking:
        if all(one.name != record.taking for one in record.snapshots):
            await _job(machine, task, "snapshot-delete", record.taking)
        record.taking = ""
        machines.save(machine)


async def _job(machine: Machine, task: MachineTask, command: str, tag: str) -> None:
    devices = await nodes(machine, task)
    job = f"snapshot{secrets.token_hex(4)}"
    arguments: Json = {"job-id": job, "tag": tag, "devices": devices}
    if command != "snapshot-delete":
        arguments["vmstate"] = devices[0]
    await task.ask_json(command, arguments)
    await finished(task, job, command)
