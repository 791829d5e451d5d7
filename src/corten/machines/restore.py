"""At the daemon's start: machines that went on are adopted, others are as their last run has left them."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
from contextlib import AsyncExitStack, suppress

from corten.aio.threads import alone
from corten.errors import CortenError, Unavailable
from corten.machines import commit, external, interfaces, migration_source, names, records, run, state, unrecorded
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Record
from corten.tasks.machine_tasks import MachineTask, ending

log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{64}\Z")
_AGAIN = 10.0  # seconds between two tries to reach a supervisor


async def restore(machines: Machines) -> None:
    """Before the networks are reconciled: running machines hold addresses and ports. One that cannot be restored is an
    error in the log."""
    found, broken = records.load(machines.table)
    for error in broken:
        log.error("%s", error)
    for record in found:
        machines.add(Machine(record, machines.settings.directory / record.id))
    # what a machine has whose record cannot be read is not known
    backups = machines.volumes.unsettled if broken else [name for one in found for name in one.backups.values()]
    machines.disks.recover(backups)
    await asyncio.gather(*(_one(machines, machine) for machine in list(machines.by_id.values())))
    known = {record.id for record in found} | set(machines.table.list(records.KIND))
    _sweep(machines, known)
    for line in await alone(lambda: machines.supervisors.lost(known, machines.cgroup)):
        log.warning("sweep: %s", line)


async def _one(machines: Machines, machine: Machine) -> None:
    try:
        if machine.record.state.status in ("removing", "incoming"):
            await _removed(machines, machine)
        else:
            if machine.record.reverting:
                await external.complete(machines, machine)
            with suppress(OSError):
                await alone(lambda: state.sweep(machine))
                await alone(lambda: external.sweep(machine))
            await _resume(machines, machine)
    except (CortenError, OSError) as error:
        log.error("machine %s could not be restored: %s", machine.name, error)
    except Exception:  # a defect that one machine's state brings out must not keep all others from their daemon
        log.exception("machine %s could not be restored", machine.name)


async def _removed(machines: Machines, machine: Machine) -> None:
    """What goes away, and what came from elsewhere and has not arrived; its disks with it. The record goes last."""
    record = machine.record
    try:
        task = await machines.supervisors.adopt(record.id, machine.directory)
    except Unavailable:
        await machines.supervisors.kill(record.id, machines.cgroup(record.id))
    else:
        await _discard(machines, machine, task)
    await run.swept(machines, machine)
    await alone(lambda: shutil.rmtree(machine.directory, ignore_errors=True))
    machines.drop(machine)
    for volume in record.volumes if record.state.status == "incoming" else ():
        try:
            machines.disks.remove(volume)
        except CortenError as error:  # others have it meanwhile
            log.warning("machine %s did not arrive, and its disk stays: %s", record.name, error)
    machines.table.delete(records.KIND, record.id)


async def _discard(machines: Machines, machine: Machine, task: MachineTask | None) -> None:
    """A run that no client had an answer of."""
    if task is not None:
        await run.finish(machines, machine, task)


async def _resume(machines: Machines, machine: Machine) -> None:
    record = machine.record
    try:
        task = await machines.supervisors.adopt(record.id, machine.directory)
    except Unavailable as error:
        if not record.state.running:
            await machines.supervisors.kill(record.id, machines.cgroup(record.id))
            await _settle(machines, machine)
            return
        log.error("machine %s: %s; it is tried again", record.name, error)
        await _held(machines, machine)
        machines.watching.spawn(_reached(machines, machine), f"the supervisor of machine {record.name}")
        return
    if task is None or not record.state.running or record.saved:  # saved: what it has done since is in no file
        await _discard(machines, machine, task)
        await _settle(machines, machine)
        return
    await _held(machines, machine)
    await _adopted(machines, machine, task)


async def _held(machines: Machines, machine: Machine) -> None:
    """What a machine that runs has of its networks, until it ends."""
    async with AsyncExitStack() as stack:
        for network, endpoint in machine.record.endpoints.items():
            try:
                machine.endpoints[network] = await machines.networks.adopt(endpoint, machine.id)
            except CortenError as error:
                log.warning(
                    "machine %s has lost its network %s until it starts again: %s", machine.name, network, error
                )
                continue
            stack.push_async_callback(run.leave, machines, machine, network)
        stack.push_async_callback(run.ended, machine)
        machine.release = stack.pop_all()


async def _adopted(machines: Machines, machine: Machine, task: MachineTask) -> None:
    machine.task = task
    run.keep(machines, machine)
    await names.again(machines, machine, task)
    if machine.record.state.status == "running":
        with suppress(CortenError, KeyError, TypeError, ValueError):  # of a QEMU that says what is none of its words
            await commit.settle(machines, machine, task)
            await migration_source.given_up(machines, machine, task)
    machines.changing.spawn(unrecorded.settle(machines, machine), f"what machine {machine.name} has in no record")
    interfaces.lost(machines, machine)  # another program may have deleted a tap while there was no daemon


async def _reached(machines: Machines, machine: Machine) -> None:
    """A supervisor that did not answer at the daemon's start is asked again, until it does or its machine has ended."""
    while True:
        await asyncio.sleep(_AGAIN)
        async with machine.lock:
            if machine.gone or not machine.record.state.running or machine.task is not None:
                return
            try:
                task = await machines.supervisors.adopt(machine.id, machine.directory)
            except Unavailable:
                continue
            if task is not None:
                await _adopted(machines, machine, task)
                return
        await run.end(machines, machine, ending(machine.directory))
        return


async def _settle(machines: Machines, machine: Machine) -> None:
    """It does not run any more."""
    was_running = machine.record.state.running
    if was_running:
        await run.end(machines, machine, ending(machine.directory))
    else:
        await run.swept(machines, machine)
    if _starts(machine.record, was_running):
        machines.changing.spawn(_start(machines, machine), f"the start of machine {machine.name}")


def _starts(record: Record, was_running: bool) -> bool:
    policy = record.config.restart_policy.name if record.config.restart_policy else ""
    if policy == "always":
        return True
    return not record.state.stopped and policy == "unless-stopped" and (was_running or record.state.status == "exited")


async def _start(machines: Machines, machine: Machine) -> None:
    try:
        await run.start(machines, machine)
    except (CortenError, OSError) as error:
        log.error("machine %s could not be started: %s", machine.name, error)


def _sweep(machines: Machines, known: set[str]) -> None:
    """Directories without a record: a create that was not completed, or a removal that was."""
    try:
        names = os.listdir(machines.settings.directory)
    except FileNotFoundError:
        return
    for name in names:
        if _ID.match(name) and name not in known:
            log.warning("sweep: directory of machine %s, which has no record", name[:12])
            shutil.rmtree(machines.settings.directory / name, ignore_errors=True)
