"""Freezing and thawing a container: pause, unpause, and a commit's standstill."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

from corten.engine.containers import records
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.errors import Conflict, CortenError, NotFound
from corten.tasks.contract import Task

log = logging.getLogger(__name__)


async def pause(containers: Containers, container: Container) -> None:
    """Freeze it, then record that: a daemon that finds a frozen container whose record says "running" thaws it
    (`thaw_unrecorded`). When the record cannot be written, the container goes on and the error says so."""
    async with container.lock:
        task = _pausable(container)
        await task.pause()
        try:
            _set_status(containers, container, "paused")
        except BaseException as error:
            await _undone(task.resume(), error, f"container {container.id} is not paused, it goes on")
        containers.publish(container, "pause")


async def unpause(containers: Containers, container: Container) -> None:
    """Record it, then thaw it; when one of the two cannot be done it stays paused, and the error says so."""
    async with container.lock:
        task = _paused(container)
        paused = container.record.state.status
        try:
            _set_status(containers, container, "running")
            await task.resume()
            container.standing.clear()
        except (Conflict, NotFound):  # it has ended, which its keeper is about to record
            raise
        except BaseException as error:
            await _undone(_again(containers, container, paused), error, f"container {container.id} stays paused")
        containers.publish(container, "unpause")


@asynccontextmanager
async def still(containers: Containers, container: Container, wanted: bool) -> AsyncIterator[Callable[[], None]]:
    """For a commit: the container stands still until the context ends, or until what it yields is called. It goes on
    before the context has ended: no answer finds it frozen.

    Its record says "running" meanwhile, whatever else of it is stored, so nothing can leave it frozen: a daemon that
    is killed leaves a frozen container, and the next one thaws it. A container that is not running, or ends at this
    moment, stands still by itself.
    """
    token, ending = object(), set[asyncio.Task[None]]()
    if wanted:
        await _begin_standstill(containers, container, token)

    def go_on() -> None:
        if token in container.standing and not ending:
            work = _end_standstill(containers, container, token)
            ending.add(containers.changing.spawn(work, "going on after a commit"))

    try:
        yield go_on
    finally:
        go_on()
        if ending:
            await asyncio.wait(ending)


async def _begin_standstill(containers: Containers, container: Container, token: object) -> None:
    """If it runs."""
    if container.record.state.status != "running":
        return
    async with container.lock:
        task = container.task
        if container.record.state.status != "running" or task is None:  # it has ended, or a client has paused it
            return
        if not container.standing:  # for another commit
            try:
                await task.pause()
            except (Conflict, NotFound):  # it has ended, which its keeper is about to record
                return
            containers.publish(container, "pause")
        container.standing.add(token)


async def _end_standstill(containers: Containers, container: Container, token: object) -> None:
    async with container.lock:
        if token not in container.standing:
            return  # it has ended, or a client has unpaused it
        if container.standing == {token} and container.task is not None:
            await container.task.resume()
            containers.publish(container, "unpause")
        container.standing.discard(token)


async def thaw_unrecorded(container: Container) -> None:
    """When a daemon finds it: the record decides whether a container is paused. One that was frozen, and whose daemon
    was killed before it recorded that or in the middle of a commit, goes on. The caller holds the lock."""
    task = container.task
    if task is not None and task.paused and container.status == "running":
        await task.resume()


async def thaw_when_reached(container: Container) -> None:
    """The same for one whose supervisor has answered later than the daemon's start."""
    async with container.lock:
        await thaw_unrecorded(container)


async def thaw(containers: Containers, container: Container) -> None:
    """Thaw a container, whatever can be recorded: a signal is pending in it."""
    async with container.lock:
        task = container.task
        if task is None or container.status != "paused":
            return  # it has ended, or a client has unpaused it
        await task.resume()
        container.standing.clear()
        _record_running(containers, container)
        containers.publish(container, "unpause")


def _record_running(containers: Containers, container: Container) -> None:
    if container.record.state.status == "running":
        return
    try:
        _set_status(containers, container, "running")
    except CortenError as error:
        container.record.state.status = "running"
        log.error("container %s runs again, which could not be recorded: %s", container.id, error)


def _pausable(container: Container) -> Task:
    status, name = container.status, container.record.name
    if status == "paused":
        raise Conflict(f"container {name} is already paused")
    if status == "restarting":
        raise Conflict(f"container {container.id} is restarting, wait until the container is running")
    if status != "running" or container.task is None:
        raise Conflict(f"container {container.id} is not running")
    return container.task


def _paused(container: Container) -> Task:
    if container.status != "paused" or container.task is None:
        raise Conflict(f"container {container.id} is not paused")
    return container.task


def _set_status(containers: Containers, container: Container, status: records.Status) -> None:
    """The status is what it was when it cannot be stored."""
    state, before = container.record.state, container.record.state.status
    state.status = status
    try:
        containers.save(container)
    except BaseException:
        state.status = before
        raise


async def _again(containers: Containers, container: Container, status: records.Status) -> None:
    if container.record.state.status != status:
        _set_status(containers, container, status)


async def _undone(undoing: Awaitable[None], error: BaseException, said: str) -> NoReturn:
    """Undo the first half of what failed with `error`, and raise that with what became of the container."""
    try:
        await undoing
    except CortenError as second:
        said = f"{said}, or should: that failed as well ({second})"
    if isinstance(error, CortenError):
        raise type(error)(f"{said}: {error}") from error
    raise error
