"""A disk takes in what it is based on, down to another file of its chain or all of it, while the machine runs as well.

QEMU copies what the disk has not got itself (`block-stream`). The record changes when that is done: before, the disk is
right with what it was based on, whatever of that is copied already.
"""

from __future__ import annotations

import secrets

from corten.errors import Conflict, NotFound
from corten.machines import blocks, run
from corten.machines.jobs import finished
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Disk
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask


async def rebase(machines: Machines, machine: Machine, name: str, onto: str) -> list[str]:
    """`onto`: a volume that the disk is based on, and stays so; "": none. The volumes of its chain now. NotFound,
    Conflict; Failed and Exhausted with QEMU's words, and then the disk is what it was."""
    async with machine.changing():
        disk = next((one for one in machine.record.disks if one.volume and name in (one.serial, one.volume)), None)
        if disk is None:
            raise NotFound(f"machine {machine.name} has no disk {name}")
        chain = machines.disks.names(disk.volume)
        _check(machine, disk, chain, onto)
        if machine.record.state.running:
            assert machine.task is not None
            await _stream(machine, machine.task, disk, chain, onto)
        else:
            async with run.standing(machines, machine) as task:
                await _stream(machine, task, disk, chain, onto)
        own = machines.volumes.get(disk.volume)
        options = {key: value for key, value in own.options.items() if key != "backing"}
        machines.volumes.with_options(disk.volume, options | ({"backing": onto} if onto else {}))
        machines.save(machine)
    machines.publish(machine, "rebase", device=disk.serial)
    return machines.disks.names(disk.volume)


def _check(machine: Machine, disk: Disk, chain: list[str], onto: str) -> None:
    if disk.read_only:
        raise Conflict(f"disk {disk.volume} is read-only")
    if len(chain) == 1:
        raise Conflict(f"disk {disk.volume} is based on nothing")
    if onto and onto not in chain[:-1]:
        raise NotFound(f"disk {disk.volume} is not based on {onto}, but on {', '.join(chain[:-1])}")
    if onto == chain[-2]:
        raise Conflict(f"disk {disk.volume} is based on {onto} already")
    if machine.record.snapshots:
        raise Conflict(f"machine {machine.name} has snapshots, which need what the disk is based on: remove them first")
    if machine.record.saved:
        raise Conflict(f"machine {machine.name} is saved: start it first")


async def _stream(machine: Machine, task: MachineTask, disk: Disk, chain: list[str], onto: str) -> None:
    job, place = f"rebase{secrets.token_hex(4)}", machine.record.begun.places[disk.serial]
    top, nodes = await blocks.written(task, machine, disk), await blocks.of(task, place)
    blocks.check(machine, disk, nodes, chain)
    wanted: Json = {"job-id": job, "device": top, "auto-dismiss": False}
    if onto:
        wanted["base-node"] = nodes[chain.index(onto)]
    await task.ask_json("block-stream", wanted)
    await finished(task, job, "rebase")
    for node in reversed(nodes[chain.index(onto) + 1 if onto else 0 : -1]):
        await blocks.delete(task, node)
