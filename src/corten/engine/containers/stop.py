"""Signals to a container: kill, stop, and the kill of a forced removal."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from corten.engine.containers import lifecycle, pause
from corten.engine.containers import wait as container_wait
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.errors import Conflict, CortenError, Failed, NotFound, NotModified, Silent, Unavailable
from corten.plan.isolation import guest_of
from corten.spec.docker import signals
from corten.tasks.contract import Exit

log = logging.getLogger(__name__)

_REMOVAL_PATIENCE = 5.0  # seconds for a supervisor to end its container before that is done without it
_KILL_PATIENCE = 10.0  # seconds for a SIGKILL to end a container: longer means that the kernel holds it


async def kill(containers: Containers, container: Container, signal_text: str = "") -> None:
    """POST kill. Conflict when it does not run. The stop signal itself, or KILL, counts as a stop by the client.

    With KILL the answer is that the container has ended and that this is recorded, as dockerd's is; Failed when it has
    not after ten seconds. No other signal is waited for.
    """
    number = signals.number(signal_text) if signal_text else int(signal.SIGKILL)
    await container.restart_begun()
    if not container.record.state.running:
        raise Conflict(f"container {container.id} is not running")
    if number in (signal.SIGKILL, stop_signal(container)):
        _record_stop(containers, container)
        if await lifecycle.cancel_restart(containers, container):
            containers.publish(container, "kill", signal=str(number))
            return
        _record_stop(containers, container)  # again: a restart that was due before may have come in between
    if number == signal.SIGKILL:
        await _end(containers, container, number, _KILL_PATIENCE)
    else:
        await _send(containers, container, number)


def stop_signal(container: Container) -> int:
    """What the container's config says, or TERM; an image's nonsense counts as nothing said."""
    try:
        return signals.number(container.record.config.stop_signal or "SIGTERM")
    except CortenError:
        return int(signal.SIGTERM)


async def stop(containers: Containers, container: Container, seconds: int | None = None, signal_text: str = "") -> None:
    """The stop signal, then KILL after `seconds` (below 0: never). NotModified when it does not run."""
    number = signals.number(signal_text) if signal_text else stop_signal(container)
    await container.restart_begun()
    if not container.record.state.running:
        raise NotModified(f"container {container.record.name} is not running")
    _record_stop(containers, container)
    if not await lifecycle.cancel_restart(containers, container):
        _record_stop(containers, container)  # again: a restart that was due before may have come in between
        await _end(containers, container, number, _patience(containers, container, seconds))
    containers.publish(container, "stop")


def _patience(containers: Containers, container: Container, seconds: int | None) -> float | None:
    if seconds is None:
        asked = container.record.config.stop_timeout
        seconds = containers.configuration.settings.stop_timeout if asked is None else int(asked)
    return None if seconds < 0 else float(seconds)


async def _end(containers: Containers, container: Container, number: int, patience: float | None) -> None:
    """`number`, and KILL when the container is still there after `patience` seconds (None: wait for ever).

    A KILL has its time to work whatever the patience is: `stop -t 0` where KILL is the stop signal."""
    if number == signal.SIGKILL and patience is not None:
        patience = max(patience, _KILL_PATIENCE)
    ending = container_wait.future(container, "next-exit")
    begun = asyncio.get_running_loop().time()
    try:
        try:
            await _send(containers, container, number)
        except Silent:  # a guest, whose machine is ended by a KILL that it does not answer either
            if number == signal.SIGKILL:
                raise
            if patience is not None:
                patience = max(patience - (asyncio.get_running_loop().time() - begun), 0.0)
        if await _within(ending, patience):
            return
        if number != signal.SIGKILL:
            await _send(containers, container, int(signal.SIGKILL))
            if await _within(ending, _KILL_PATIENCE):
                return
        raise Failed(f"container {container.id} does not end after SIGKILL: {_why(container)}")
    except Conflict:  # it ended by itself, which its keeper is about to record
        if container.record.state.running and not await _within(ending, _KILL_PATIENCE):
            raise Failed(f"container {container.id} has ended, and what it used is not given back") from None
    finally:
        ending.cancel()


def _why(container: Container) -> str:
    if guest_of(container.record.host_config):  # `supervisor.virtual`, which ends its machine then
        return "its guest has a minute for that, and is ended by then"
    return "the kernel holds a process of it"


async def _within(ending: asyncio.Future[Exit], seconds: float | None) -> bool:
    done, _ = await asyncio.wait({ending}, timeout=seconds)
    return bool(done)


async def kill_for_removal(containers: Containers, container: Container) -> None:
    """rm -f: end it now, whatever state it is in, and whether or not its supervisor answers."""
    await container.restart_begun()
    _record_stop(containers, container)
    if await lifecycle.cancel_restart(containers, container) or not container.record.state.running:
        return
    _record_stop(containers, container)  # again: a restart that was due before may have come in between
    task, ending = container.task, container_wait.future(container, "next-exit")
    try:
        async with asyncio.timeout(_REMOVAL_PATIENCE):
            await _end(containers, container, int(signal.SIGKILL), None)
    except (TimeoutError, Unavailable):
        if task is None:
            raise Unavailable(f"cannot reach the supervisor of container {container.id}") from None
        await task.destroy()
        await ending
    finally:
        ending.cancel()


@asynccontextmanager
async def lock_for_removal(containers: Containers, container: Container) -> AsyncIterator[None]:
    """rm -f: the lock, also where it is held for as long as a guest that is being started, or a client of `cp`, likes.
    What such work waits for is ended."""
    while True:
        try:
            async with asyncio.timeout(_REMOVAL_PATIENCE):
                await container.lock.acquire()
            break
        except TimeoutError:
            container.take_back()
            await containers.runtime.end(container.bundle)
    try:
        yield
    finally:
        container.lock.release()


def _record_stop(containers: Containers, container: Container) -> None:
    """Recorded before the signal goes out: a daemon that is killed in between must not restart it by policy."""
    if container.record.stopped:
        return
    container.record.stopped = True
    try:
        containers.save(container)
    except BaseException:
        container.record.stopped = False
        raise


async def _send(containers: Containers, container: Container, number: int) -> None:
    """A paused container is resumed behind the signal, because it could not act on it."""
    task = container.task
    if task is None:
        raise Conflict(f"container {container.id} is not running")
    try:
        await task.signal(number)
    except NotFound as error:
        raise Conflict(f"container {container.id} is not running") from error
    containers.publish(container, "kill", signal=str(number))
    if container.status == "paused":
        with suppress(Conflict, NotFound):  # the signal has ended it already
            await pause.thaw(containers, container)
