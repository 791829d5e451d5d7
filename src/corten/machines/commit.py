"""A disk and what it is based on become one: what the disk has is written into its base (`block-commit`), which then is
the disk. Where little was written, that is far less than to take the base in (`rebase`).

What the records say is right at every instant: a disk over a base into which it is being written is what it was. Only
when the guest writes to the base itself the record has to say so, and it stands still for that moment.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from corten.errors import Conflict, NotFound
from corten.kernel import paths
from corten.machines import blocks, jobs, run
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Disk
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask
from corten.vm import board
from corten.vm.board import Layer


async def commit(machines: Machines, machine: Machine, name: str) -> list[str]:
    """The volumes of the disk's chain now. NotFound, Conflict; Failed and Exhausted with QEMU's words, and then the
    disk is what it was."""
    async with machine.changing():
        disk = next((one for one in machine.record.disks if one.volume and name in (one.serial, one.volume)), None)
        if disk is None:
            raise NotFound(f"machine {machine.name} has no disk {name}")
        _check(machines, machine, disk)
        await merge(machines, machine, disk, disk.volume)
    machines.publish(machine, "commit", device=disk.serial)
    return machines.disks.names(disk.volume)


def _check(machines: Machines, machine: Machine, disk: Disk) -> None:
    record, chain = machine.record, machines.disks.names(disk.volume)
    if disk.read_only:
        raise Conflict(f"disk {disk.volume} is read-only")
    if len(chain) == 1:
        raise Conflict(f"disk {disk.volume} is based on nothing")
    base = chain[-2]
    if record.saved:
        raise Conflict(f"machine {machine.name} is saved: start it first")
    for one in record.snapshots:
        if base in one.bases.values():
            raise Conflict(f"disk {base} is snapshot {one.name}: vm snapshot rm merges it")
        if not one.external:
            raise Conflict(f"machine {machine.name} has snapshots in its disks: remove them first")
    if not machines.disks.base_of(base):
        raise Conflict(f"disk {base} is a volume of its own, and is not written to: vm rebase takes it in")
    if others := machines.volumes.users(base) - {f"volume {disk.volume}"}:
        raise Conflict(f"disk {base} is in use by {', '.join(sorted(others))}: vm rebase takes in what it has")


async def merge(machines: Machines, machine: Machine, disk: Disk, upper: str) -> None:
    """`upper`, a volume of the disk's chain, and what it is based on; the caller holds the lock."""
    if machine.record.state.running:
        await _merge(machines, machine, machines.task(machine), disk, upper)
        return
    async with run.standing(machines, machine) as task:
        await _merge(machines, machine, task, disk, upper)


async def _merge(machines: Machines, machine: Machine, task: MachineTask, disk: Disk, upper: str) -> None:
    chain, place = machines.disks.names(disk.volume), machine.record.begun.places[disk.serial]
    nodes = await blocks.of(task, place)
    blocks.check(machine, disk, nodes, chain)
    at = chain.index(upper)
    below = nodes[at - 2] if at > 1 else None
    await _writable(machines, task, nodes[at - 1], chain[at - 1], below)
    job = f"commit{secrets.token_hex(4)}"
    wanted: Json = {"job-id": job, "device": nodes[-1], "base-node": nodes[at - 1], "auto-dismiss": False}
    if upper != disk.volume:
        file = machines.disks.file(chain[at - 1]).path.name
        wanted |= {"top-node": nodes[at], "backing-file": f"../../{upper}/_data/{file}"}
        await task.ask_json("block-commit", wanted)
        await jobs.finished(task, job, "commit")
        machines.disks.absorb(upper)
    else:
        await task.ask_json("block-commit", wanted)
        await jobs.ready(task, job, "commit")
        async with still(task) as goes:
            await task.ask("job-complete", id=job)
            await jobs.finished(task, job, "commit")
            on = goes.pop_all()  # not where a record fails: it would write where none leads (`settle` lets it go on)
            machines.disks.absorb(upper)
            goes.push_async_exit(on)
    await blocks.delete(task, nodes[at])


@asynccontextmanager
async def still(task: MachineTask) -> AsyncIterator[AsyncExitStack]:
    """The machine stands still meanwhile, and goes on behind it: what is given does that."""
    running = (await task.ask("query-status")).get("running")
    async with AsyncExitStack() as goes:
        if running:
            await task.ask("stop")
            goes.push_async_callback(task.ask, "cont")
        yield goes


async def _writable(machines: Machines, task: MachineTask, node: str, volume: str, below: str | None) -> None:
    """QEMU may write to a file that it has opened for reading."""
    number, file = await blocks.fd_set(task, node), machines.disks.file(volume)
    seen = os.open(file.path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fd = paths.reopen(seen, os.O_RDWR)
    finally:
        os.close(seen)
    try:
        await task.ask("add-fd", [fd], fdset_id=number)
    finally:
        os.close(fd)
    await task.ask_json("blockdev-reopen", {"options": [board.disk_node(
        node, Layer(file.format, False), f"/dev/fdset/{number}", below)]})  # fmt: skip


async def settle(machines: Machines, machine: Machine, task: MachineTask) -> None:
    """At a daemon's start: an earlier one was killed while disks were merged. Those are as QEMU has them."""
    await jobs.end_all(task, "migrate")
    for disk in machine.record.disks:
        if not disk.volume or disk.read_only:
            continue
        nodes = await blocks.of(task, machine.record.begun.places[disk.serial])
        top = await blocks.written(task, machine, disk)
        if not nodes or top == nodes[-1] or top not in nodes:
            continue
        if len(machines.disks.names(disk.volume)) == len(nodes):
            machines.disks.absorb(disk.volume)
        await blocks.delete(task, nodes[-1])
