"""A machine that comes from another daemon (`migration`), until it goes on here."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import itertools
import os
import re
import secrets
import shutil
import socket
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from corten.aio import turns
from corten.errors import Conflict, CortenError, Invalid, StartFailed, Unavailable
from corten.machines import create, passthrough, plan, records, run, state
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.migration import GO, MOST, VERSION, Incoming, Moved, cut, since
from corten.machines.records import Disk, Record
from corten.spec.docker import times
from corten.spec.docker.decode import decode
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask
from corten.units.durations import in_go
from corten.vm import board
from corten.vm.passthrough import CONTROLLER

T = TypeVar("T")
_SOCKET = "nbd.sock"
_CD = "cloud-init"  # the serial of that disk
_SERIAL = re.compile(rf"(disk[0-9]{{1,3}}|{_CD})\Z")
_SILENCE = 300.0  # seconds without a byte of disks or state, which end a target: a slow disk may be flushed meanwhile
_PIECE = 1 << 18


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
    if moved.version != VERSION:
        raise Invalid(f"a machine is described by version {moved.version}, and this daemon knows {VERSION}")
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
    begun, devices = moved.begun, [*(disk.serial for disk in moved.disks), *map(records.of_network, moved.networks)]
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
        await _comes(task, incoming.go, GO, f"machine {machine.name} has come, and not been started")

    try:
        async with machine.lock:
            await run.start_locked(machines, machine, prepare, machine.record.begun, incoming=True)
    except BaseException:
        await _forget(machines, machine)
        raise
    finally:
        machine.incoming = None
        incoming.end()


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
    fd, early = await _comes(task, incoming.state, MOST, f"nothing has come of machine {name}")
    incoming.taken = True
    with socket.socket(fileno=fd) as client:
        ours, theirs = socket.socketpair()
        passing = asyncio.ensure_future(_between(client, ours, incoming.comes, early))
        try:
            with theirs:
                await state.receive(task, theirs.fileno(), MOST)
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
            cut(end)


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
