"""Verbs of a running machine: stop, kill, reset, pause, unpause, restart; and its removal."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from corten.aio.threads import to_removal_thread
from corten.errors import Conflict, CortenError, Failed, Unavailable
from corten.machines import interfaces, migration_target, passthrough, records, run, state
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.tasks.contract import Exit
from corten.tasks.machine_tasks import ending

PATIENCE = 60  # seconds for a guest to shut down, where nothing else is said
_KILLED = 30.0  # seconds for QEMU to go once it was killed
_REACH = 5.0  # seconds for a supervisor to kill it, which is ended itself otherwise


async def stop(machines: Machines, machine: Machine, seconds: int | None = None) -> bool:
    """The power button; a guest that has not shut down after so many seconds is killed (-1: never). Whether it was.

    Does nothing when it does not run. No other verb holds it up for longer than these seconds.
    """
    ended = machine.ended()
    if ended.done():
        return False
    _mark_stopped(machines, machine)
    patience = PATIENCE if seconds is None else seconds
    if patience != 0:
        try:
            async with asyncio.timeout(None if patience < 0 else patience):
                await _shut_down(machines, machine)
                await asyncio.shield(ended)
        except TimeoutError:
            pass
    killed = not ended.done()
    if killed:
        await _kill(machines, machine, ended)
    machines.publish(machine, "stop")
    return killed


async def _shut_down(machines: Machines, machine: Machine) -> None:
    with suppress(Conflict, Failed):  # it is just ending
        if machine.record.state.status == "paused":
            await unpause(machines, machine)
        await machines.task(machine).ask("system_powerdown")


async def kill(machines: Machines, machine: Machine) -> None:
    """As by pulling the plug, also in the middle of another verb. Conflict when it does not run."""
    ended = machine.ended()
    if ended.done():
        machines.task(machine)
    _mark_stopped(machines, machine)
    await _kill(machines, machine, ended)
    machines.publish(machine, "kill")


@asynccontextmanager
async def halted(machines: Machines, machine: Machine) -> AsyncIterator[None]:
    """The lock of a machine that is off: one that runs is ended, also one that a client starts meanwhile, and no policy
    starts it again. NotFound when it was removed."""
    while True:
        await _halt(machines, machine)
        async with machine.changing():
            if not machine.record.state.running:
                yield
                return


async def _halt(machines: Machines, machine: Machine) -> None:
    ended = machine.ended()
    if not ended.done():
        _mark_stopped(machines, machine)
        await _kill(machines, machine, ended)


async def save(machines: Machines, machine: Machine) -> None:
    """Its memory goes to a file, and it is off; the next start goes on from there. When that fails it goes on now."""
    async with machine.changing():
        task = machines.task(machine)
        passthrough.refuse(machine, "be saved")
        ended = machine.ended()
        await task.ask("stop")
        before = machine.record.state.stopped
        try:
            await state.write(machine, task)
            machine.record.saved = machine.record.state.stopped = True
            machines.save(machine)
        except BaseException:
            machine.record.saved, machine.record.state.stopped = False, before
            with suppress(Conflict, Failed, Unavailable):
                await task.ask("cont")
            raise
        with suppress(Conflict, Failed):  # it ends before it has answered
            await task.ask("quit")
    async with asyncio.timeout(_KILLED):
        await ended
    machines.publish(machine, "save")


async def _kill(machines: Machines, machine: Machine, ended: asyncio.Future[Exit]) -> None:
    task = machine.task
    if task is not None:
        try:
            await task.kill(_REACH)
        except Conflict:
            pass
        except Unavailable:
            task = None
    if task is None:  # QEMU goes with its supervisor
        await machines.supervisors.kill(machine.id, machines.cgroup(machine.id))
        if machine.task is None and not ended.done():
            await run.end(machines, machine, ending(machine.directory))
    try:
        async with asyncio.timeout(_KILLED):
            await asyncio.shield(ended)
    except TimeoutError:
        raise Unavailable(f"machine {machine.name} was killed and has not ended") from None


def _mark_stopped(machines: Machines, machine: Machine) -> None:
    """A client ends it: no policy starts it again. Without the lock: what holds that may wait for the guest."""
    machine.record.state.stopped = True
    machines.save(machine)


async def reset(machines: Machines, machine: Machine) -> None:
    """The reset button: the guest notices nothing before it boots again."""
    await machines.task(machine).ask("system_reset")


async def pause(machines: Machines, machine: Machine) -> None:
    async with machine.changing():
        if machine.record.state.status == "paused":
            raise Conflict(f"machine {machine.name} is paused already")
        await machines.task(machine).ask("stop")
        machine.record.state.status = "paused"
        machines.save(machine)
    machines.publish(machine, "pause")


async def unpause(machines: Machines, machine: Machine) -> None:
    async with machine.changing():
        if machine.record.state.status != "paused":
            raise Conflict(f"machine {machine.name} is not paused")
        await machines.task(machine).ask("cont")
        machine.record.state.status = "running"
        machines.save(machine)
    interfaces.lost(machines, machine)
    machines.publish(machine, "unpause")


async def restart(machines: Machines, machine: Machine, seconds: int | None = None) -> None:
    """Shut down, and started again. One that does not run is started."""
    await stop(machines, machine, seconds)
    await run.start(machines, machine)
    machines.publish(machine, "restart")


async def remove(machines: Machines, machine: Machine, force: bool, disks: bool) -> None:
    """Conflict while it runs, unless `force`, which kills it. With `disks` those that nothing else refers to go with
    it."""
    await migration_target.refuse(machine)
    while True:
        if machine.gone:
            return
        if machine.record.state.running:
            if not force:
                raise Conflict(f"machine {machine.name} is running: stop it first, or remove it with force")
            await kill(machines, machine)
        if force:
            machine.end_readers()
        async with machine.lock:
            if not machine.gone and not machine.record.state.running:  # or its start was completed meanwhile
                await _remove_locked(machines, machine)
                break
    if disks:
        for volume in machine.record.volumes:
            with suppress(CortenError):  # others refer to it
                machines.disks.remove(volume)
    machines.publish(machine, "destroy")


async def _remove_locked(machines: Machines, machine: Machine) -> None:
    """The caller holds the lock."""
    machine.record.state.status = "removing"
    machines.save(machine)
    await to_removal_thread(shutil.rmtree, machine.directory, True)
    machines.table.delete(records.KIND, machine.id)
    machines.drop(machine)
    machine.gone = True
