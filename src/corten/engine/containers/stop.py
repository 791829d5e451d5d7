"""Signals to a container: kill, stop, restart, pause and unpause."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from corten.engine.containers import exit as container_exit
from corten.engine.containers import records
from corten.engine.containers import start as container_start
from corten.engine.containers import wait as container_wait
from corten.engine.containers.container import Container
from corten.errors import Conflict, CortenError, Failed, NotFound, NotModified, Unavailable
from corten.spec.docker import signals
from corten.tasks.contract import Exit, Task

if TYPE_CHECKING:
    from corten.engine.containers.containers import Containers

log = logging.getLogger(__name__)

_REMOVAL_PATIENCE = 5.0  # seconds for a supervisor to end its container before that is done without it
_KILL_PATIENCE = 10.0  # seconds for a SIGKILL to end a container: longer means that the kernel holds it


async def kill(containers: Containers, container: Container, signal_text: str = "") -> None:
    """POST kill. Conflict when it does not run. The stop signal itself, or KILL, counts as a stop by the client.

    With KILL the answer is that the container has ended and that this is recorded, as dockerd's is; Failed when it has
    not after ten seconds. No other signal is waited for.
    """
    number = signals.number(signal_text) if signal_text else int(signal.SIGKILL)
    await container_exit.settle_restart(container)
    if not container.record.state.running:
        raise Conflict(f"container {container.id} is not running")
    if number in (signal.SIGKILL, stop_signal(container)):
        _stopped_by_client(containers, container)
        if container_exit.give_up_restart(containers, container):
            return
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
    await container_exit.settle_restart(container)
    if not container.record.state.running:
        raise NotModified(f"container {container.record.name} is not running")
    _stopped_by_client(containers, container)
    if not container_exit.give_up_restart(containers, container):
        await _end(containers, container, number, _patience(containers, container, seconds))
    containers.parts.events.publish("container", "stop", container.id, container.attributes())


def _patience(containers: Containers, container: Container, seconds: int | None) -> float | None:
    if seconds is None:
        asked = container.record.config.stop_timeout
        seconds = containers.parts.settings.stop_timeout if asked is None else int(asked)
    return None if seconds < 0 else float(seconds)


async def _end(containers: Containers, container: Container, number: int, patience: float | None) -> None:
    """`number`, and KILL when the container is still there after `patience` seconds (None: wait for ever)."""
    ending = container_wait.future(container, "next-exit")
    try:
        await _send(containers, container, number)
        if await _within(ending, patience):
            return
        if number != signal.SIGKILL:
            await _send(containers, container, int(signal.SIGKILL))
            if await _within(ending, _KILL_PATIENCE):
                return
        raise Failed(f"container {container.id} does not end after SIGKILL: the kernel holds a process of it")
    except Conflict:  # it ended by itself; its watcher is about to say so
        if container.record.state.running and not await _within(ending, _KILL_PATIENCE):
            raise Failed(f"container {container.id} has ended, and what it used is not given back") from None
    finally:
        ending.cancel()


async def _within(ending: asyncio.Future[Exit], seconds: float | None) -> bool:
    done, _ = await asyncio.wait({ending}, timeout=seconds)
    return bool(done)


async def kill_for_removal(containers: Containers, container: Container) -> None:
    """rm -f: end it now, whatever state it is in, and whether or not its supervisor answers."""
    await container_exit.settle_restart(container)
    _stopped_by_client(containers, container)
    if container_exit.give_up_restart(containers, container) or not container.record.state.running:
        return
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


async def restart(
    containers: Containers, container: Container, seconds: int | None = None, signal_text: str = ""
) -> dict[str, float]:
    """Stop when it runs, then start."""
    try:
        await stop(containers, container, seconds, signal_text)
    except NotModified:
        pass
    timing = await container_start.start(containers, container)
    containers.parts.events.publish("container", "restart", container.id, container.attributes())
    return timing


async def pause(containers: Containers, container: Container) -> None:
    """Freeze it, then record that: a daemon that finds a frozen container whose record says "running" thaws it
    (`settle_frozen`). When the record cannot be written, the container goes on and the error says so."""
    async with container.lock:
        task = _pausable(container)
        await task.pause()
        try:
            _set_status(containers, container, "paused")
        except BaseException as error:
            await _undone(task.resume(), error, f"container {container.id} is not paused, it goes on")
        containers.parts.events.publish("container", "pause", container.id, container.attributes())


async def unpause(containers: Containers, container: Container) -> None:
    """Record it, then thaw it; when one of the two cannot be done it stays paused, and the error says so."""
    async with container.lock:
        task = _paused(container)
        try:
            _set_status(containers, container, "running")
            await task.resume()
        except (Conflict, NotFound):  # it has ended; its watcher is about to say so
            raise
        except BaseException as error:
            await _undone(_paused_again(containers, container), error, f"container {container.id} stays paused")
        containers.parts.events.publish("container", "unpause", container.id, container.attributes())


@asynccontextmanager
async def still(containers: Containers, container: Container, wanted: bool) -> AsyncIterator[Callable[[], None]]:
    """For a commit: the container stands still until the context ends, or until what it yields is called.

    It is not recorded, so no fault of the disk can leave it frozen: a daemon that dies meanwhile leaves a frozen
    container whose record says "running", and the next one thaws it. A container that is not running is left alone.
    """
    wanted = wanted and container.record.state.status == "running"
    if wanted:
        async with container.lock:
            task = _pausable(container)
            await task.pause()
            container.record.state.status = "paused"
            containers.parts.events.publish("container", "pause", container.id, container.attributes())
    pending = [wanted]

    def go_on() -> None:
        if pending.pop():
            containers.parts.changing.spawn(_go_on(containers, container), "going on after a commit")
        pending.append(False)

    try:
        yield go_on
    finally:
        go_on()


async def settle_frozen(container: Container) -> None:
    """At the daemon's start: the record decides whether a container is paused. One that was frozen, and whose daemon
    died before it wrote that down or in the middle of a commit, goes on."""
    task = container.task
    if task is not None and task.paused and container.record.state.status == "running":
        await task.resume()


async def _go_on(containers: Containers, container: Container) -> None:
    """Thaw a container, whatever can be recorded: it was frozen for a commit, or a signal waits in it."""
    async with container.lock:
        task = container.task
        if task is None or container.record.state.status != "paused":
            return  # it has ended, or a client has unpaused it
        await task.resume()
        try:
            _set_status(containers, container, "running")
        except CortenError as error:
            container.record.state.status = "running"
            log.error("container %s runs again, which could not be recorded: %s", container.id, error)
        containers.parts.events.publish("container", "unpause", container.id, container.attributes())


def _pausable(container: Container) -> Task:
    state, name = container.record.state, container.record.name
    if state.status == "paused":
        raise Conflict(f"container {name} is already paused")
    if state.status == "restarting":
        raise Conflict(f"container {container.id} is restarting, wait until the container is running")
    if state.status != "running" or container.task is None:
        raise Conflict(f"container {container.id} is not running")
    return container.task


def _paused(container: Container) -> Task:
    if container.record.state.status != "paused" or container.task is None:
        raise Conflict(f"container {container.id} is not paused")
    return container.task


def _set_status(containers: Containers, container: Container, status: records.Status) -> None:
    """The status is what it was when it cannot be stored."""
    state, before = container.record.state, container.record.state.status
    state.status = status
    try:
        records.save(containers.parts.table, container.record)
    except BaseException:
        state.status = before
        raise


async def _paused_again(containers: Containers, container: Container) -> None:
    if container.record.state.status == "running":
        _set_status(containers, container, "paused")


async def _undone(undoing: Awaitable[None], error: BaseException, said: str) -> NoReturn:
    """Undo the first half of what failed with `error`, and raise that with what became of the container."""
    try:
        await undoing
    except CortenError as second:
        said = f"{said}, or should: that failed as well ({second})"
    if isinstance(error, CortenError):
        raise type(error)(f"{said}: {error}") from error
    raise error


def _stopped_by_client(containers: Containers, container: Container) -> None:
    """Recorded before the signal goes out: a daemon that dies in between must not restart it by policy."""
    if container.record.stopped:
        return
    container.record.stopped = True
    try:
        records.save(containers.parts.table, container.record)
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
    containers.parts.events.publish("container", "kill", container.id, container.attributes(signal=str(number)))
    if container.record.state.status == "paused":
        with suppress(Conflict, NotFound):  # the signal has ended it already
            await _go_on(containers, container)
