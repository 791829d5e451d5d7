"""Signals to a container: kill, stop, restart, pause and unpause."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from corten.engine.containers import exit as container_exit
from corten.engine.containers import records, signals
from corten.engine.containers import start as container_start
from corten.engine.containers import wait as container_wait
from corten.engine.containers.container import Container
from corten.engine.seams import Exit
from corten.errors import Conflict, CortenError, Failed, NotFound, NotModified

if TYPE_CHECKING:
    from corten.engine.containers.containers import Containers

_KILL_PATIENCE = 10.0  # seconds for a SIGKILL to end a container: longer means that the kernel holds it


async def kill(containers: Containers, container: Container, signal_text: str = "") -> None:
    """POST kill. Conflict when it does not run. The stop signal itself, or KILL, counts as a stop by the client."""
    number = signals.number(signal_text) if signal_text else int(signal.SIGKILL)
    await container_exit.settle_restart(container)
    if not container.record.state.running:
        raise Conflict(f"container {container.id} is not running")
    if number in (signal.SIGKILL, stop_signal(container)):
        _stopped_by_client(containers, container)
        if container_exit.give_up_restart(containers, container):
            return
    await _send(containers, container, number)


def stop_signal(container: Container) -> int:
    """What the container's config says, or TERM; an image's nonsense counts as nothing said."""
    try:
        return signals.number(str(container.record.config.get("StopSignal") or "SIGTERM"))
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
        asked = container.record.config.get("StopTimeout")
        seconds = containers.parts.settings.stop_timeout if asked is None else int(asked)
    return None if seconds < 0 else float(seconds)


async def _end(containers: Containers, container: Container, number: int, patience: float | None) -> None:
    """`number`, and KILL when the container is still there after `patience` seconds (None: wait for ever)."""
    ending = container_wait.future(container, "next-exit")
    try:
        await _send(containers, container, number)
        if await _within(ending, patience):
            return
        await _send(containers, container, int(signal.SIGKILL))
        if not await _within(ending, _KILL_PATIENCE):
            raise Failed(f"container {container.id} does not end after SIGKILL: the kernel holds a process of it")
    except Conflict:  # it ended by itself; its watcher is about to say so
        if container.record.state.running:
            await ending
    finally:
        ending.cancel()


async def _within(ending: asyncio.Future[Exit], seconds: float | None) -> bool:
    done, _ = await asyncio.wait({ending}, timeout=seconds)
    return bool(done)


async def kill_for_removal(containers: Containers, container: Container) -> None:
    """rm -f: end it now, whatever state it is in."""
    await container_exit.settle_restart(container)
    _stopped_by_client(containers, container)
    if not container_exit.give_up_restart(containers, container) and container.record.state.running:
        await _end(containers, container, int(signal.SIGKILL), _KILL_PATIENCE)


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
    async with container.lock:
        state, name = container.record.state, container.record.name
        if state.status == "paused":
            raise Conflict(f"container {name} is already paused")
        if state.status == "restarting":
            raise Conflict(f"container {container.id} is restarting, wait until the container is running")
        if state.status != "running" or container.task is None:
            raise Conflict(f"container {container.id} is not running")
        await container.task.pause()
        _set_status(containers, container, "paused")
        containers.parts.events.publish("container", "pause", container.id, container.attributes())


async def unpause(containers: Containers, container: Container) -> None:
    async with container.lock:
        if container.record.state.status != "paused" or container.task is None:
            raise Conflict(f"container {container.id} is not paused")
        await container.task.resume()
        _set_status(containers, container, "running")
        containers.parts.events.publish("container", "unpause", container.id, container.attributes())


def _set_status(containers: Containers, container: Container, status: records.Status) -> None:
    container.record.state.status = status
    records.save(containers.parts.table, container.record)


def _stopped_by_client(containers: Containers, container: Container) -> None:
    """Recorded before the signal goes out: a daemon that dies in between must not restart it by policy."""
    if not container.record.stopped:
        container.record.stopped = True
        records.save(containers.parts.table, container.record)


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
        try:
            await unpause(containers, container)
        except (Conflict, NotFound):  # the signal has ended it already
            return
