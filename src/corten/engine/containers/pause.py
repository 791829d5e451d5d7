"""Freezing and thawing a container: pause, unpause, and a commit's standstill."""

from __future__ import annotations

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
        try:
            _set_status(containers, container, "running")
            await task.resume()
        except (Conflict, NotFound):  # it has ended, which its keeper is about to record
            raise
        except BaseException as error:
            await _undone(_paused_again(containers, container), error, f"container {container.id} stays paused")
        containers.publish(container, "unpause")


@asynccontextmanager
async def still(containers: Containers, container: Container, wanted: bool) -> AsyncIterator[Callable[[], None]]:
    """For a commit: the container stands still until the context ends, or until what it yields is called.

    It is not recorded, so no fault of the disk can leave it frozen: a daemon that is killed meanwhile leaves a frozen
    container whose record says "running", and the next one thaws it. A container that is not running is left alone.
    """
    wanted = wanted and container.record.state.status == "running"
    if wanted:
        async with container.lock:
            task = _pausable(container)
            await task.pause()
            container.record.state.status = "paused"
            containers.publish(container, "pause")
    pending = [wanted]

    def go_on() -> None:
        if pending.pop():
            containers.changing.spawn(thaw(containers, container), "going on after a commit")
        pending.append(False)

    try:
        yield go_on
    finally:
        go_on()


async def thaw_unrecorded(container: Container) -> None:
    """At the daemon's start: the record decides whether a container is paused. One that was frozen, and whose daemon
    was killed before it recorded that or in the middle of a commit, goes on."""
    task = container.task
    if task is not None and task.paused and container.record.state.status == "running":
        await task.resume()


async def thaw(containers: Containers, container: Container) -> None:
    """Thaw a container, whatever can be recorded: it was frozen for a commit, or a signal is pending in it."""
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
        containers.publish(container, "unpause")


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
        containers.save(container)
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
