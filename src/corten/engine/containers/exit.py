"""What follows the end of a run: teardown, the record, waiters, and then restart, removal or rest.

Restart policies are Docker's: a container that ends is started again after 100 ms, then twice as long each time up to a
minute; a run of ten seconds begins the count anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from corten.engine.containers import records
from corten.engine.containers import remove as container_remove
from corten.engine.containers import start as container_start
from corten.engine.containers.container import Container
from corten.engine.containers.records import Record
from corten.errors import Conflict, CortenError, NotModified
from corten.tasks.contract import Exit, Task
from corten.units.durations import SECOND

if TYPE_CHECKING:
    from corten.engine.containers.containers import Containers

log = logging.getLogger(__name__)
FIRST_BACKOFF, LONGEST_BACKOFF, GOOD_RUN = 0.1, 60.0, 10.0


async def watch(containers: Containers, container: Container, task: Task) -> None:
    """Wait for the end of this run and deal with it."""
    exit = await task.wait()
    async with container.lock:
        if container.task is task:
            await ended(containers, container, exit)


async def ended(containers: Containers, container: Container, exit: Exit) -> None:
    """The caller holds the lock. Ports and addresses are free when a waiter hears of it."""
    parts, record = containers.parts, container.record
    lasted = time.monotonic() - container.started
    release, container.release, container.task = container.release, None, None
    if container.health is not None:
        container.health.stop()
    if release is not None:
        try:
            await release.aclose()
        except (
            Exception
        ) as error:  # what is left is found again by the sweep at the next start; waiters must hear of it
            log.error("container %s was not torn down completely: %s", container.id, error, exc_info=error)
    again = wants_restart(record, exit.status)
    _note(container, exit, again)
    try:
        records.save(parts.table, record)
    except CortenError as error:  # exit.json has it, for the next daemon
        log.error("the end of container %s could not be recorded: %s", container.id, error)
    parts.events.publish("container", "die", container.id, container.attributes(**_ending(record, exit)))
    container.wake(exit, "not-running", "next-exit")
    if again:
        _restart_later(containers, container, lasted)
    elif record.host_config.auto_remove:
        removal = container_remove.remove_ended(containers, container)
        parts.changing.spawn(removal, f"the automatic removal of container {container.id}")


def _note(container: Container, exit: Exit, again: bool) -> None:
    record = container.record
    record.state = records.State(
        "restarting" if again else "exited",
        exit_code=exit.status,
        error=exit.error,
        oom_killed=exit.oom_killed or record.state.oom_killed,
        started_at=record.state.started_at,
        finished_at=int(exit.at * SECOND),
    )
    record.endpoints = {}
    if again:
        record.restart_count += 1


def _ending(record: Record, exit: Exit) -> dict[str, str]:
    duration = max(0, record.state.finished_at - record.state.started_at) // SECOND
    return {"execDuration": str(duration), "exitCode": str(exit.status)}


def wants_restart(record: Record, status: int) -> bool:
    """What the restart policy says of a run that ended with `status`."""
    policy = record.host_config.restart_policy
    if record.stopped:
        return False
    match policy.name:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            limit = policy.maximum_retry_count
            return status != 0 and (limit == 0 or record.restart_count < limit)
        case _:
            return False


def _restart_later(containers: Containers, container: Container, lasted: float) -> None:
    if lasted >= GOOD_RUN:
        container.backoff = 0.0
    container.backoff = min(container.backoff * 2 or FIRST_BACKOFF, LONGEST_BACKOFF)
    work = restart_after(containers, container, container.backoff)
    container.restarter = containers.parts.watching.spawn(work, f"the restart of container {container.id}")


async def restart_after(containers: Containers, container: Container, delay: float) -> None:
    """Only the waiting can be cancelled: a start that began is completed."""
    await asyncio.sleep(delay)
    container.restarter = None
    starting = _restart_now(containers, container)
    await asyncio.shield(containers.parts.changing.spawn(starting, f"restarting container {container.id}"))


async def _restart_now(containers: Containers, container: Container) -> None:
    try:
        await container_start.start(containers, container)
    except (NotModified, Conflict):  # somebody was quicker: started it, or is removing it
        return
    except (CortenError, OSError) as error:
        log.error("container %s could not be restarted: %s", container.id, error)
        code = container.record.state.exit_code
        container.wake(Exit(code, time.time(), error=str(error)), "not-running", "next-exit")


async def settle_restart(container: Container) -> None:
    """A restart whose time has come cannot be given up any more: wait until it has started, or could not."""
    while container.record.state.status == "restarting" and container.restarter is None:
        async with container.lock:
            pass
        await asyncio.sleep(0)


def give_up_restart(containers: Containers, container: Container) -> bool:
    """Cancel a restart that is waiting for its time; the container has then exited. False when there is none."""
    if container.record.state.status != "restarting":
        return False
    if container.restarter is not None:
        container.restarter.cancel()
        container.restarter = None
    container.record.state.status = "exited"
    records.save(containers.parts.table, container.record)
    state = container.record.state
    container.wake(Exit(state.exit_code, state.finished_at / SECOND), "not-running", "next-exit")
    return True


def lost(container: Container) -> Exit:
    """The end of a run that nobody saw: its supervisor left no trace, as after a reboot."""
    return Exit(137, time.time(), error="the end of this run was not seen: its supervisor is gone")
