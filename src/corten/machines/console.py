"""What a machine shows: its serial console, its screen, a picture of that."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress

from corten.errors import Conflict, Failed, Unavailable
from corten.kernel import memfd
from corten.machines import blocks
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.tasks.contract import Stream

_CATCH_UP = 1.0  # seconds
_MAX_PICTURE = 64 << 20  # bytes


async def attach(machines: Machines, machine: Machine, stream: Stream) -> None:
    """A client of the serial console, which several may have. Takes the descriptor; the supervisor serves it from now
    on, whatever becomes of this process."""
    task = machine.task
    if task is None:
        os.close(stream.fd)
        return
    with suppress(Conflict):  # it ended just now, and so does the stream
        await task.attach(stream)
        machines.publish(machine, "attach")


async def catch_up(machine: Machine) -> None:
    """The log has what the console has said until now; a supervisor that does not say so keeps nothing back."""
    if machine.task is None:
        if not machine.log_path.exists():
            machine.log_path.touch(0o640)
        return
    with suppress(Conflict, Unavailable, TimeoutError):
        async with asyncio.timeout(_CATCH_UP):
            await machine.task.write_log()


def check_screen(machine: Machine) -> None:
    if not machine.record.config.display:
        raise Conflict(f"machine {machine.name} has no screen: create it with a display")


async def screen(machine: Machine, fd: int) -> None:
    """The client of VNC at the other end of `fd`, which is taken: QEMU speaks RFB there (RFC 6143), without a password:
    who may open the API may see the screen."""
    try:
        if (task := machine.task) is None:
            return
        name = f"vnc{secrets.token_hex(4)}"
        await task.ask("getfd", [fd], fdname=name)
        try:
            await task.ask("add_client", protocol="vnc", fdname=name, skipauth=True)
        except BaseException:
            await blocks.quietly(task, "closefd", {"fdname": name})  # QEMU's copy, which keeps the client connected
            raise
    except (Conflict, Failed):  # it has just ended: the stream's end says so
        return
    finally:
        os.close(fd)


async def screenshot(machine: Machine) -> bytes:
    """A PNG. Conflict without a screen."""
    check_screen(machine)
    task = machine.task
    assert task is not None
    picture = memfd.empty("screenshot", 0)
    try:
        given = os.open(f"/proc/self/fd/{picture}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            added = await task.ask("add-fd", [given])
        finally:
            os.close(given)
        number = int(added["fdset-id"])
        try:
            await task.ask("screendump", filename=f"/dev/fdset/{number}", format="png")
        finally:
            await task.ask("remove-fd", fdset_id=number)
        size = os.fstat(picture).st_size
        if not 0 < size <= _MAX_PICTURE:
            raise Failed(f"QEMU has made a picture of {size} bytes")
        return os.pread(picture, size, 0)
    finally:
        os.close(picture)
