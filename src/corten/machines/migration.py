"""A machine that runs moves to another daemon, with its disks, and notices only a pause.

A client carries it, which talks to both daemons: it opens a connection for each disk and one for the state, here and
there, and passes on what comes. So the daemons need not reach or trust each other, and every way to a daemon (a unix
socket, TLS, ssh) is a way for machines.

    source                                    the client                     target
    description ─────────────────────────────────▶ receive: a record, empty disks, QEMU that waits
    send_disk: mirrored by NBD ◀──────────────────────────────▶ receive_disk: QEMU's NBD server
    send_state: when all disks are equal ────────────────────▶ receive_state
      stands still: mirrors are ended, the rest of the state is sent
    finished                                                     finish: it goes on
    (removed by the client)

Until `finish` has answered, the source can go on (`cancel`), and what fails leaves it as it was. A target to which
nothing comes any more goes away by itself.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import itertools
import logging
import os
import re
import secrets
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from corten.aio import turns
from corten.aio.threads import to_disk_thread
from corten.errors import Conflict, CortenError, Failed, Invalid, NotFound, StartFailed, Unavailable
from corten.machines import blocks, create, images, passthrough, plan, records, run, state
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Begun, Disk, Record
from corten.spec.docker import times
from corten.spec.docker.decode import decode
from corten.spec.docker.machine import MachineCreate
from corten.spec.docker.networking import EndpointSettings
from corten.spec.docker.struct import Struct
from corten.spec.json import Json
from corten.tasks import answers
from corten.tasks.machine_tasks import MachineTask
from corten.units.durations import in_go
from corten.vm import board
from corten.vm.passthrough import CONTROLLER

log = logging.getLogger(__name__)
T = TypeVar("T")
_VERSION = 1
_SOCKET = "nbd.sock"
_CD = "cloud-init"  # the serial of that disk
_SERIAL = re.compile(rf"(disk[0-9]{{1,3}}|{_CD})\Z")
_JOB = "migrate"  # of a disk that is mirrored, and its place behind it
_SENDING = ("setup", "active", "pre-switchover", "device", "wait-unplug")  # of QEMU's MigrationStatus
_STANDS = ("paused", "finish-migrate", "postmigrate")  # of its RunState
_SILENCE = 300.0  # seconds without a byte of disks or state, which end a target: a slow disk may be flushed meanwhile
_GO = 120.0  # seconds from there to the word that it goes on
_LOOK = 0.1
_MOST = 24 * 3600.0
_PIECE = 1 << 18
_TAKEN = 10.0  # seconds for the first words of an NBD server, and for QEMU to have agreed with it
_HELLO = b"NBDMAGICIHAVEOPT"  # NBD's protocol, "Fixed newstyle negotiation"


class Moved(msgspec.Struct, omit_defaults=True):
    """What travels beside disks and memory. `sizes` of disks by their serials, `cd` of cloud-init in base64; `booted`:
    digests of what a machine from an image boots, by the files' names."""

    version: int
    name: str
    uuid: str
    config: MachineCreate
    disks: list[Disk]
    sizes: dict[str, int]
    networks: dict[str, EndpointSettings]
    begun: Begun
    macs: dict[str, str] = {}
    addresses: dict[str, list[str]] = {}
    cd: str = ""
    booted: dict[str, str] = {}


@dataclass(slots=True)
class Incoming:
    """A target while it is one."""

    ready: asyncio.Future[None]
    state: asyncio.Future[tuple[int, bytes]]
    go: asyncio.Future[None]
    start: asyncio.Task[None] | None = None
    came: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    def comes(self) -> None:
        """Something has come of it just now."""
        self.came = asyncio.get_running_loop().time()


@dataclass(slots=True)
class Outgoing:
    """A source while it is one: the places of disks that are mirrored, their connections, whether one could not be,
    what sends the state, and whether a client has asked for the end of that."""

    places: list[int] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)
    failed: bool = False
    sending: asyncio.Task[Json] | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        """Cut all connections of disks: QEMU waits for no other end of one that says nothing."""
        while self.connections:
            with self.connections.pop() as connection:
                _cut(connection)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # the other end has gone
        connection.shutdown(socket.SHUT_RDWR)


# ----------------------------------------------------------------------------------------------------------- source


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
        _VERSION,
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
    except BaseException as error:
        connection.close()
        if isinstance(error, KeyError | StopIteration):
            raise NotFound(f"machine {machine.name} has no disk {serial}") from None
        raise
    outgoing.connections.append(connection)
    server = {"type": "fd", "str": f"{_JOB}{place}"}
    target = {"driver": "nbd", "node-name": f"{_JOB}{place}", "server": server, "export": f"disk{place}"}
    # QEMU, and its guest with it, does nothing else until it has agreed with the server.
    unanswered = asyncio.get_running_loop().call_later(_TAKEN, _cut, connection)
    try:
        await task.ask_json("blockdev-add", target)
    finally:
        unanswered.cancel()
    mirror = {"job-id": f"{_JOB}{place}", "device": source, "target": f"{_JOB}{place}"}
    await task.ask_json("blockdev-mirror", {**mirror, "sync": "full", "auto-dismiss": True})
    outgoing.places.append(place)


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
        async with asyncio.timeout(_GO):
            await outgoing.asked.wait()
    except TimeoutError:
        if machine.outgoing is outgoing:
            log.warning("machine %s was sent, and nothing has asked for it since: it goes on here", machine.name)
            await cancel(machines, machine)


async def _equal(task: MachineTask, outgoing: Outgoing, disks: int) -> None:
    """The mirrors of all disks have copied what there was, and follow what is written; those that are not begun yet are
    waited for. Failed for one that has ended."""
    async with asyncio.timeout(_MOST):
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


def since(task: MachineTask, event: str) -> int | None:
    """Milliseconds since QEMU has said that; None when it has not."""
    return max(round((time.time() - task.last[event]) * 1000), 0) if event in task.last else None


async def _end_mirrors(task: MachineTask, outgoing: Outgoing, force: bool = False) -> None:
    for place in outgoing.places:
        try:
            await task.ask("block-job-cancel", (), device=f"{_JOB}{place}", force=force)
        except CortenError:  # by force: it has ended by itself
            if not force:
                raise
    async with asyncio.timeout(_GO):
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


# ----------------------------------------------------------------------------------------------------------- target


async def receive(machines: Machines, body: Json, name: str, kernel: str = "", initrd: str = "") -> Machine:
    """A record, empty disks of the same sizes, and a QEMU that waits. Nothing is left when it fails. One from an image
    boots what the same image has here: NotFound, Conflict where that is not here, or another one."""
    moved = _decoded(body)
    moved = msgspec.structs.replace(moved, config=create.with_kernel(moved.config, kernel, initrd))
    moved = _checked(machines, moved)
    cd = _bytes(moved.cd)
    name = name or moved.name
    await create.check_files(moved.config)
    create.check_name(machines, name)
    made: list[str] = []
    machines.creating.add(name)
    try:
        disks = []
        for disk in moved.disks:
            volume = f"{name}-{disk.serial}" if disk.volume else ""
            if volume:
                await machines.disks.create(volume, {"size": f"{moved.sizes[disk.serial]}b"}, {}, unsettled=True)
                made.append(volume)
            disks.append(Disk(disk.serial, volume, disk.bus, disk.read_only))
        id = secrets.token_hex(32)
        record = Record(id, name, times.now(), moved.uuid, moved.config, disks, moved.networks)
        record.macs, record.addresses, record.begun = moved.macs, moved.addresses, moved.begun
        record.state.status = "incoming"
        machine = Machine(record, machines.settings.directory / id)
        machine.directory.mkdir(mode=0o700, parents=True)
        try:
            if cd:
                run.write(machine.directory / plan.CD, cd)
            if moved.config.image:
                await machines.images.take_again(moved.config, machine.directory, moved.booted)
            machines.save(machine)
            machines.disks.keep(made)
        except BaseException:
            with suppress(CortenError):
                machines.table.delete(records.KIND, id)
            shutil.rmtree(machine.directory, ignore_errors=True)
            raise
        machines.add(machine)
    except BaseException:
        machines.disks.discard(made)
        raise
    finally:
        machines.creating.discard(name)
    loop = asyncio.get_running_loop()
    incoming = machine.incoming = Incoming(loop.create_future(), loop.create_future(), loop.create_future())
    incoming.start = machines.changing.spawn(_arrive(machines, machine, incoming), f"receiving machine {name}")
    done, _ = await asyncio.wait([incoming.ready, incoming.start], return_when=asyncio.FIRST_COMPLETED)
    if incoming.start in done:
        incoming.start.result()
    return machine


def _decoded(body: Json) -> Moved:
    try:
        moved = msgspec.convert(body, Moved, dec_hook=decode)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no description of a machine: {error}") from None
    if moved.version != _VERSION:
        raise Invalid(f"a machine is described by version {moved.version}, and this daemon knows {_VERSION}")
    if any(disk.volume and disk.serial not in moved.sizes for disk in moved.disks):
        raise Invalid("this machine cannot be received")
    return moved


def _checked(machines: Machines, moved: Moved) -> Moved:
    """What another daemon says is held to what this one makes itself. Invalid, NotFound."""
    passthrough.refuse_foreign(moved.config.devices)
    config = create.filled(moved.config.replace(networks=moved.networks))
    if create.networks_of(machines, config).keys() != moved.networks.keys():
        raise Invalid("networks of a machine are described by their names")
    create.check_number(moved.disks, moved.networks)
    begun, devices = moved.begun, [*(disk.serial for disk in moved.disks), *moved.networks]
    devices += [CONTROLLER] * (CONTROLLER in begun.places)
    places = [begun.places.get(name, -1) for name in devices]
    if not len(set(devices)) == len(devices) == len(set(places)) or not all(
        0 <= n < begun.ports <= board.PORTS for n in places
    ):
        raise Invalid("this is no description of a machine: a device has no place of its own")
    if not create.SMALLEST <= begun.memory <= config.max_memory or not 1 <= begun.cpus <= config.max_cpus:
        raise Invalid("this is no description of a machine: it began with more than it may have, or with nothing")
    for disk in moved.disks:
        if not _SERIAL.match(disk.serial) or bool(disk.volume) is (disk.serial == _CD) or disk.bus not in create.BUSES:
            raise Invalid(f"no disk of a machine: {disk.serial}")
        if disk.cdrom or (disk.volume and disk.read_only):
            raise Invalid(f"disk {disk.serial} is read-only, and does not move")
    try:
        if str(uuid.UUID(moved.uuid)) != moved.uuid:
            raise ValueError
        for address in itertools.chain(*moved.addresses.values()):
            ipaddress.ip_address(address)
    except ValueError:
        raise Invalid("this is no description of a machine: its UUID or an address is none") from None
    if any(disk.serial == _CD for disk in moved.disks) is not bool(moved.cd):
        raise Invalid("this is no description of a machine: its CD for cloud-init is not there")
    return msgspec.structs.replace(moved, config=config.replace(networks=moved.config.networks))


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Invalid("this is no description of a machine: its CD is not in base64") from None


async def _arrive(machines: Machines, machine: Machine, incoming: Incoming) -> None:
    """From QEMU that waits to a machine that runs; what does not come to that is removed."""
    task_of: list[MachineTask] = []

    async def prepare(task: MachineTask) -> None:
        task_of.append(task)
        await _serve(machines, machine, task)
        incoming.ready.set_result(None)
        incoming.comes()
        await _while_it_comes(incoming, _state_comes(task, incoming, machine.name), machine.name)
        await task.ask("nbd-server-stop")
        await _comes(task, incoming.go, _GO, f"machine {machine.name} has come, and not been started")

    try:
        async with machine.lock:
            await run.start_locked(machines, machine, prepare, machine.record.begun, incoming=True)
    except BaseException:
        await _forget(machines, machine)
        raise
    finally:
        machine.incoming = None


async def _while_it_comes(incoming: Incoming, work: Coroutine[Any, Any, None], name: str) -> None:
    """Unavailable, and `work` is given up, when for `_SILENCE` nothing has come of the machine."""
    done, now = asyncio.ensure_future(work), asyncio.get_running_loop().time
    try:
        while (left := incoming.came + _SILENCE - now()) > 0:
            if (await asyncio.wait([done], timeout=left))[0]:
                return done.result()
        raise Unavailable(f"nothing has come of machine {name} for {in_go(_SILENCE)}")
    finally:
        done.cancel()
        await asyncio.wait([done])


async def _state_comes(task: MachineTask, incoming: Incoming, name: str) -> None:
    """Through this process, which sees that it does."""
    fd, early = await _comes(task, incoming.state, _MOST, f"nothing has come of machine {name}")
    with socket.socket(fileno=fd) as client:
        ours, theirs = socket.socketpair()
        passing = asyncio.ensure_future(_between(client, ours, incoming.comes, early))
        try:
            with theirs:
                await state.receive(task, theirs.fileno(), _MOST)
        finally:
            passing.cancel()
            await asyncio.wait([passing])
            ours.close()


async def _comes(task: MachineTask, awaited: asyncio.Future[T], seconds: float, otherwise: str) -> T:
    """Unavailable when it does not come in time, StartFailed when the machine ends before."""
    end = asyncio.ensure_future(task.wait())
    try:
        both: set[asyncio.Future[Any]] = {awaited, end}
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if awaited.done():
            return awaited.result()
        if end.done():
            raise StartFailed(f"QEMU has ended: {end.result().error or end.result().status}")
        raise Unavailable(otherwise)
    finally:
        end.cancel()


async def _serve(machines: Machines, machine: Machine, task: MachineTask) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        place = os.open(machines.supervisors.run / machine.id, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            listener.bind(f"/proc/self/fd/{place}/{_SOCKET}")
        finally:
            os.close(place)
        listener.listen(16)
        await task.ask("getfd", [listener.fileno()], fdname="nbd")
    await task.ask_json("nbd-server-start", {"addr": {"type": "fd", "data": {"str": "nbd"}}})
    for disk in machine.record.disks:
        if disk.volume:
            number = machine.record.begun.places[disk.serial]
            export = {"type": "nbd", "id": f"export{number}", "name": f"disk{number}", "writable": True}
            await task.ask_json("block-export-add", {**export, "node-name": board.node(number, 0)})


async def _forget(machines: Machines, machine: Machine) -> None:
    machine.record.state.status = "removing"
    shutil.rmtree(machine.directory, ignore_errors=True)
    machines.table.delete(records.KIND, machine.id)
    if machine.id in machines.by_id:
        machines.drop(machine)
    machine.gone = True
    for volume in machine.record.volumes:
        with suppress(CortenError):
            machines.disks.remove(volume)


def check_incoming(machine: Machine) -> None:
    """Conflict for one that waits for nothing."""
    if machine.incoming is None or not machine.incoming.ready.done():
        raise Conflict(f"machine {machine.name} does not come from elsewhere")


async def receive_disk(machines: Machines, machine: Machine, fd: int, early: bytes) -> None:
    """Pass on between QEMU's NBD server and the client, whose connection `fd` is taken, until one of them has gone."""
    with socket.socket(fileno=fd) as client, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.setblocking(False)
        place = os.open(machines.supervisors.run / machine.id, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(server, f"/proc/self/fd/{place}/{_SOCKET}")
        finally:
            os.close(place)
        await _between(client, server, machine.incoming.comes if machine.incoming is not None else _nothing, early)


def _nothing() -> None:
    pass


async def _between(client: socket.socket, server: socket.socket, comes: Callable[[], None], early: bytes) -> None:
    """Pass on, both ways, until one of them has gone; then the other is cut as well. `comes` for what the client sends,
    of which `early` is the beginning."""
    client.setblocking(False)
    server.setblocking(False)
    await asyncio.get_running_loop().sock_sendall(server, early)
    ways = [asyncio.ensure_future(_pass(client, server, comes)), asyncio.ensure_future(_pass(server, client, _nothing))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (client, server):
            _cut(end)


async def _pass(source: socket.socket, target: socket.socket, passed: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while data := await turns.receive(source, _PIECE):
            await loop.sock_sendall(target, data)
            passed()


def receive_state(machine: Machine, fd: int, early: bytes) -> None:
    """Takes `fd`. `early` has come before it."""
    incoming = machine.incoming
    if incoming is None or incoming.state.done():
        os.close(fd)
        raise Conflict(f"machine {machine.name} waits for no state")
    incoming.state.set_result((fd, early))


async def finish(machine: Machine) -> Json:
    """It goes on here, {"Ago": milliseconds since it does}; errors of its start."""
    incoming = machine.incoming
    if incoming is None or incoming.start is None:
        raise Conflict(f"machine {machine.name} does not come from elsewhere")
    if not incoming.go.done():
        incoming.go.set_result(None)
    await asyncio.shield(incoming.start)
    return {"Ago": since(machine.task, "RESUME") or 0 if machine.task is not None else 0}


async def refuse(machine: Machine) -> None:
    """What was to come does not come."""
    incoming = machine.incoming
    if incoming is not None and incoming.start is not None:
        incoming.start.cancel()
        await asyncio.wait([incoming.start])


def _outgoing(machine: Machine) -> Outgoing:
    if machine.outgoing is None:
        raise Conflict(f"machine {machine.name} is not on its way to another daemon")
    return machine.outgoing
