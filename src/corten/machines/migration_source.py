"""A machine that is sent to another daemon (`migration`): what becomes of it here."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import socket
from contextlib import suppress

import msgspec

from corten.aio.threads import to_disk_thread
from corten.errors import Conflict, CortenError, Failed, NotFound
from corten.machines import blocks, images, interfaces, passthrough, plan, state
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.migration import GO, MOST, VERSION, Moved, Outgoing, cut, since
from corten.spec.docker.struct import Struct
from corten.spec.json import Json
from corten.tasks import answers
from corten.tasks.machine_tasks import MachineTask

log = logging.getLogger(__name__)
_JOB = "migrate"  # of a disk that is mirrored, and its place behind it
_SENDING = ("setup", "active", "pre-switchover", "device", "wait-unplug")  # of QEMU's MigrationStatus
_STANDS = ("paused", "finish-migrate", "postmigrate")  # of its RunState
_LOOK = 0.1
_TAKEN = 10.0  # seconds for the first words of an NBD server, and for QEMU to have agreed with it
_HELLO = b"NBDMAGICIHAVEOPT"  # NBD's protocol, "Fixed newstyle negotiation"


async def description(machines: Machines, machine: Machine) -> Json:
    """Conflict for what cannot move: CDs, snapshots. Files of a kernel have to be there as well. UEFI's variables and a
    TPM's state are parts of QEMU's, which writes them to the files of the other side. What an earlier client has
    begun, and left, is given up."""
    record = machine.record
    if machine.task is None or record.state.status != "running":
        raise Conflict(f"machine {machine.name} is not running")
    passthrough.refuse(machine, "move")
    if any(disk.cdrom or (disk.volume and disk.read_only) for disk in record.disks):
        raise Conflict(f"machine {machine.name} has a CD or a read-only disk: take it out first")
    if record.snapshots:
        raise Conflict(f"machine {machine.name} has snapshots, which do not move: remove them first")
    await cancel(machines, machine)
    cd = machine.directory / plan.CD
    moved = Moved(
        VERSION,
        record.name,
        record.uuid,
        record.config.replace(disks=None),
        list(record.disks),
        {disk.serial: machines.disks.size(disk.volume) for disk in record.disks if disk.volume},
        dict(record.networks),
        record.begun,
        dict(record.macs),
        dict(record.addresses),
        base64.b64encode(cd.read_bytes()).decode() if record.config.cloud_init is not None else "",
        await to_disk_thread(images.digests, record.config, machine.directory),
    )
    machine.outgoing = Outgoing()
    found: Json = msgspec.to_builtins(moved, enc_hook=Struct.given_json)
    return found


async def send_disk(machines: Machines, machine: Machine, serial: str, fd: int) -> None:
    """Mirror a disk to who listens at the other end of `fd`, which is taken, until `finished` or `cancel`."""
    outgoing = machine.outgoing
    try:
        await _mirror(machines, machine, serial, fd)
    except BaseException:
        if outgoing is not None:
            outgoing.failed = True
        raise


async def _mirror(machines: Machines, machine: Machine, serial: str, fd: int) -> None:
    connection = socket.socket(fileno=fd)
    try:
        task, outgoing, place = machines.task(machine), _outgoing(machine), machine.record.begun.places[serial]
        disk = next(disk for disk in machine.record.disks if disk.serial == serial)
        source = await blocks.written(task, machine, disk)
        await _greeted(connection)
        await task.ask("getfd", [fd], fdname=f"{_JOB}{place}")
        _check_wanted(machine, outgoing)
    except BaseException as error:
        connection.close()
        if isinstance(error, KeyError | StopIteration):
            raise NotFound(f"machine {machine.name} has no disk {serial}") from None
        raise
    outgoing.connections.append(connection)
    server = {"type": "fd", "str": f"{_JOB}{place}"}
    target = {"driver": "nbd", "node-name": f"{_JOB}{place}", "server": server, "export": f"disk{place}"}
    # QEMU, and its guest with it, does nothing else until it has agreed with the server.
    unanswered = asyncio.get_running_loop().call_later(_TAKEN, cut, connection)
    try:
        await task.ask_json("blockdev-add", target)
    finally:
        unanswered.cancel()
    mirror = {"job-id": f"{_JOB}{place}", "device": source, "target": f"{_JOB}{place}"}
    try:
        await task.ask_json("blockdev-mirror", {**mirror, "sync": "full", "auto-dismiss": True})
        _check_wanted(machine, outgoing)
    except BaseException:
        await _end_mirror(task, f"{_JOB}{place}")
        raise
    outgoing.places.append(place)


def _check_wanted(machine: Machine, outgoing: Outgoing) -> None:
    """Conflict when it was given up meanwhile, or the machine has ended: what is begun now would be ended by no one."""
    if machine.outgoing is not outgoing or outgoing.ended:
        raise Conflict(f"machine {machine.name} is not on its way to another daemon any more")


async def _end_mirror(task: MachineTask, name: str) -> None:
    """By force, with its node; it may have ended by itself."""
    await blocks.quietly(task, "block-job-cancel", {"device": name, "force": True})
    with suppress(CortenError, TimeoutError):
        async with asyncio.timeout(GO):
            seen = task.events
            while any(str(job["id"]) == name for job in await task.ask("query-jobs")):
                await task.happens(seen, _LOOK)
                seen = task.events
    await blocks.quietly(task, "blockdev-del", {"node-name": name})


async def _greeted(connection: socket.socket) -> None:
    """An NBD server has begun to speak; what it says is left to be read. Failed when it does not, or something else."""
    connection.setblocking(False)
    try:
        async with asyncio.timeout(_TAKEN):
            await answers.readable(connection.fileno())
        said = connection.recv(len(_HELLO), socket.MSG_PEEK)
    except (TimeoutError, OSError) as error:
        raise Failed(f"nothing is said where a disk is to be copied to: {error or 'timeout'}") from None
    if not said or not _HELLO.startswith(said):
        raise Failed("where a disk is to be copied to is no server of NBD")


def send_state(machines: Machines, machine: Machine, fd: int) -> None:
    """Begin to send memory and devices when all disks are equal; takes `fd`. `finished` waits for its end: when no
    client does, the machine goes on here."""
    try:
        outgoing = _outgoing(machine)
        if outgoing.sending is not None:
            raise Conflict(f"the state of machine {machine.name} is being sent already")
    except Conflict:
        os.close(fd)
        raise

    async def send() -> Json:
        try:
            task = machines.task(machine)
            await _equal(task, outgoing, len(machine.record.volumes))
            emulated = (await machines.guests.accelerator()).name == "tcg"
            return await state.send(task, fd, lambda: _end_mirrors(task, outgoing), emulated)
        finally:
            os.close(fd)

    outgoing.sending = machines.changing.spawn(send(), f"sending machine {machine.name}")
    machines.watching.spawn(_unfinished(machines, machine, outgoing), f"the end of sending machine {machine.name}")


async def _unfinished(machines: Machines, machine: Machine, outgoing: Outgoing) -> None:
    """It could not be sent, or the client that carried it has gone: it goes on here."""
    assert outgoing.sending is not None
    await asyncio.wait([outgoing.sending])
    if outgoing.sending.cancelled() or outgoing.sending.exception() is not None:  # which `finished` says
        await _go_on(machines, machine, outgoing)
        return
    try:
        async with asyncio.timeout(GO):
            await outgoing.asked.wait()
    except TimeoutError:
        if machine.outgoing is outgoing:
            log.warning("machine %s was sent, and nothing has asked for it since: it goes on here", machine.name)
            await cancel(machines, machine)


async def _equal(task: MachineTask, outgoing: Outgoing, disks: int) -> None:
    """The mirrors of all disks have copied what there was, and follow what is written; those that are not begun yet are
    waited for. Failed for one that has ended."""
    async with asyncio.timeout(MOST):
        while True:
            seen = task.events
            jobs = {job["id"]: job for job in await task.ask("query-jobs")}
            wanted = [jobs.get(f"{_JOB}{place}") for place in outgoing.places]
            if outgoing.failed or any(job is None for job in wanted):
                raise Failed("a disk could not be copied to the other machine")
            if len(wanted) >= disks and all(job is not None and job["status"] == "ready" for job in wanted):
                return
            await task.happens(seen, _LOOK)


async def finished(machines: Machines, machine: Machine) -> Json:
    """The machine stands still and is complete on the other side: {"Downtime": milliseconds of that until now, "Total":
    of all of it}. From here on it is paused, and whatever becomes of this daemon it does not go on by itself: it may do
    so elsewhere. When that failed it goes on here, as if nothing had been."""
    outgoing, task = _outgoing(machine), machines.task(machine)
    if outgoing.sending is None:
        raise Conflict(f"the state of machine {machine.name} is not being sent")
    outgoing.asked.set()
    try:
        moved = await asyncio.shield(outgoing.sending)
        outgoing.close()
        machine.record.state.status = "paused"
        machines.save(machine)
    except BaseException:
        await cancel(machines, machine)
        raise
    stood = since(task, "STOP")
    downtime = (moved.get("downtime", 0) if stood is None else stood) + moved.get("before", 0)
    return {"Downtime": downtime, "Total": moved.get("total-time", 0)}


async def _end_mirrors(task: MachineTask, outgoing: Outgoing, force: bool = False) -> None:
    for place in outgoing.places:
        try:
            await task.ask("block-job-cancel", (), device=f"{_JOB}{place}", force=force)
        except CortenError:  # by force: it has ended by itself
            if not force:
                raise
    async with asyncio.timeout(GO):
        while True:
            seen = task.events
            if all(not str(job["id"]).startswith(_JOB) for job in await task.ask("query-jobs")):
                break
            await task.happens(seen, _LOOK)


async def given_up(machines: Machines, machine: Machine, task: MachineTask) -> None:
    """At a daemon's start: a machine that an earlier one was sending goes on here, unless that was `finished`, and so
    does one that stood still for something that was not completed."""
    names = [str(job["id"]) for job in await task.ask("query-jobs")]
    places = [int(name.removeprefix(_JOB)) for name in names if name.startswith(_JOB)]
    sent = (await task.ask("query-migrate")).get("status") in _SENDING
    if places or sent or (await task.ask("query-status")).get("status") in _STANDS:
        log.warning("machine %s goes on: what it stood still for, or was sent by, has ended", machine.name)
        machine.outgoing = Outgoing(places)
        await cancel(machines, machine)


async def cancel(machines: Machines, machine: Machine) -> None:
    """It goes on here."""
    outgoing, machine.outgoing = machine.outgoing, None
    if outgoing is not None:
        await _go_on(machines, machine, outgoing)


async def _go_on(machines: Machines, machine: Machine, outgoing: Outgoing) -> None:
    outgoing.close()
    task = machine.task
    if task is None:
        return
    if outgoing.sending is not None:
        outgoing.sending.cancel()
        await asyncio.wait([outgoing.sending])
    with suppress(CortenError):
        await task.ask("migrate_cancel")
    with suppress(CortenError, TimeoutError):
        async with asyncio.timeout(GO):
            await state.finalized(task)
    with suppress(CortenError, TimeoutError):
        await _end_mirrors(task, outgoing, force=True)
    for place in outgoing.places:
        with suppress(CortenError):
            await task.ask("blockdev-del", (), node_name=f"{_JOB}{place}")
    with suppress(CortenError):
        if not (await task.ask("query-status")).get("running"):
            await task.ask("cont")
        if machine.record.state.status == "paused":
            machine.record.state.status = "running"
            machines.save(machine)
    interfaces.lost(machines, machine)


def _outgoing(machine: Machine) -> Outgoing:
    if machine.outgoing is None:
        raise Conflict(f"machine {machine.name} is not on its way to another daemon")
    return machine.outgoing
