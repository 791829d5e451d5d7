"""One task, the keeper, for each container that runs or waits for its restart.

It waits for the end of the run, takes down what the run had acquired, records the end, and does what
`restarts.decide` says: nothing, a removal, or the next run. Verbs of clients (start, stop, remove) call down to this
module and to `run`; the keeper calls none of them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Awaitable, Coroutine
from dataclasses import replace
from typing import TypeVar

from corten.engine.containers import records, removal, restarts, run, wait
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.records import Record
from corten.engine.containers.restarts import Decision, Remove, Rest, Restart
from corten.errors import Conflict, CortenError, NotFound, NotModified
from corten.tasks.contract import Exit, Task
from corten.units.durations import SECOND

T = TypeVar("T")
log = logging.getLogger(__name__)


def keep(containers: Containers, container: Container) -> None:
    """Keep a container that has just been started, or adopted; the caller holds its lock."""
    assert container.task is not None
    _spawn(containers, container, _keep_run(containers, container, container.task))


def keep_ended(containers: Containers, container: Container, decision: Decision) -> None:
    """Do what follows a run that has ended already, and keep the runs behind it."""
    _spawn(containers, container, _keep(containers, container, decision))


def start_soon(containers: Containers, container: Container) -> None:
    """Start a container without a client; the caller holds its lock."""
    now = Restart(0.0)
    container.put_off(now)
    keep_ended(containers, container, now)


def hold(container: Container) -> Restart:
    """Put a start off until `start_behind`; the caller holds its lock."""
    held = Restart(math.inf)
    container.put_off(held)
    return held


def start_behind(containers: Containers, container: Container, held: Restart, before: Awaitable[None]) -> None:
    """Start a container that is held when `before` is done, unless a client has started, stopped or removed it."""

    async def start() -> None:
        await before
        if container.restart is held:
            container.end_restart()
            now = Restart(0.0)
            container.put_off(now)
            await _keep(containers, container, now)

    _spawn(containers, container, start())


def _spawn(containers: Containers, container: Container, work: Coroutine[object, object, None]) -> None:
    containers.watching.spawn(work, f"keeping container {container.id}")


async def _keep_run(containers: Containers, container: Container, task: Task) -> None:
    await _keep(containers, container, await _end_of(containers, container, task))


async def _keep(containers: Containers, container: Container, decision: Decision) -> None:
    """From decision to decision until the container rests, is removed, or has another keeper."""
    while True:
        match decision:
            case Rest():
                return
            case Remove():
                removing = removal.remove_ended(containers, container)
                containers.changing.spawn(removing, f"the automatic removal of container {container.id}")
                return
            case Restart():
                await container.restart_due(decision)
                await _owners_are_back(containers, container)
                task = await _completed(containers, container, _run_again(containers, container, decision))
                if task is None:
                    return
                decision = await _end_of(containers, container, task)


async def _owners_are_back(containers: Containers, container: Container) -> None:
    """A container can only join one that runs: where one whose namespace it shares is to be started again as well, at
    the daemon's start for instance, that goes first."""
    for owner in containers.owners(container):
        await _end_recorded(owner)
        await owner.settled()


async def _end_recorded(container: Container) -> None:
    """Wait for the record of an end that has not been heard of yet, though its process is gone."""
    if container.task is None or not container.record.state.has_task:
        return
    over = wait.future(container, "next-exit")
    try:
        os.close(container.task.open_namespace("pid"))
    except NotFound:
        await over
    finally:
        over.cancel()


async def _end_of(containers: Containers, container: Container, task: Task) -> Decision:
    exit = await task.wait()
    return await _completed(containers, container, end_run(containers, container, exit))


async def _completed(containers: Containers, container: Container, work: Coroutine[object, object, T]) -> T:
    """`work`, which goes on when the keeper is cancelled at the daemon's end: that waits for it."""
    return await asyncio.shield(containers.changing.spawn(work, f"work on container {container.id}"))


async def end_run(containers: Containers, container: Container, exit: Exit) -> Decision:
    """Take down and record a run that has ended. Ports and addresses are free when a waiter hears of it."""
    async with container.lock:
        return await end_run_locked(containers, container, exit)


async def end_run_locked(containers: Containers, container: Container, exit: Exit) -> Decision:
    """The same; the caller holds the lock."""
    record = container.record
    lasted = time.monotonic() - container.started
    await run.release(container)
    decision = restarts.decide(record, exit.status, lasted, container.restart_delay)
    if isinstance(decision, Remove) and container.returning:
        decision = Rest()
    _note_exit(container, exit, decision)
    try:
        containers.save(container)
    except CortenError as error:  # exit.json has it, for the next daemon
        log.error("the end of container %s could not be recorded: %s", container.id, error)
    containers.publish(container, "die", **_ending(record, exit))
    container.wake(replace(exit, error=""), "not-running", "next-exit")  # the reason is in the record
    return decision


def _note_exit(container: Container, exit: Exit, decision: Decision) -> None:
    record = container.record
    record.state = records.State(
        "restarting" if isinstance(decision, Restart) else "exited",
        exit_code=exit.status,
        error=exit.error,
        ran=bool(exit.error),
        oom_killed=exit.oom_killed or record.state.oom_killed,
        started_at=record.state.started_at,
        finished_at=max(int(exit.at * SECOND), record.state.started_at),  # it may have ended before its start was noted
    )
    record.endpoints = {}
    container.standing.clear()
    if container.health is not None:
        container.health.end()  # with the state: what is seen to run has the health of its check
    if isinstance(decision, Restart):
        record.restart_count += 1
        container.put_off(decision)


def _ending(record: Record, exit: Exit) -> dict[str, str]:
    duration = max(0, record.state.finished_at - record.state.started_at) // SECOND
    return {"execDuration": str(duration), "exitCode": str(exit.status)}


async def _run_again(containers: Containers, container: Container, restart: Restart) -> Task | None:
    """The next run; None when a client stopped, started or removed the container first, or when it cannot start."""
    async with container.lock:
        if container.restart is not restart:
            return None
        container.end_restart()
        try:
            run.check_startable(container)
        except (NotModified, Conflict):  # it is being removed
            return None
        try:
            await run.start(containers, container)
        except (CortenError, OSError) as error:
            log.error("container %s could not be restarted: %s", container.id, error)
            return None
        return container.task


async def cancel_restart(containers: Containers, container: Container) -> bool:
    """End the wait for a restart: the container has then exited. False when there is none to end.

    A restart that has begun is completed first. Failed when the record cannot be stored.
    """
    if container.record.state.status != "restarting":
        return False
    async with container.lock:  # what has begun holds it
        state = container.record.state
        if state.status != "restarting":
            return False
        state.status = "exited"
        try:
            containers.save(container)
        except BaseException:
            state.status = "restarting"
            raise
        container.end_restart()
        container.wake(Exit(state.exit_code, state.finished_at / SECOND), "not-running", "next-exit")
        return True
