"""Connections of clients that wait for a container's end, with copies in its supervisor.

Docker's client asks once, before the start, and takes a connection that ends for a failure of the run. So it must not
end with this daemon: when that is gone, the supervisor writes the answer (`corten.supervisor.waits`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

from corten.aio.background import Background
from corten.engine.containers.container import Condition, Container
from corten.errors import CortenError
from corten.supervisor.waits import MOST
from corten.tasks.contract import Task

log = logging.getLogger(__name__)


@contextmanager
def held(
    changing: Background, container: Container, condition: Condition, descriptor: Callable[[], int]
) -> Iterator[None]:
    """While a client waits for an answer, the head of which it has. `descriptor` is that of its connection, below 0
    when that has ended.

    A removal is answered by a supervisor where it follows the end of the run by itself (--rm); otherwise only the
    daemon knows of it. So it is with clients beyond the first MOST of a container.
    """
    follows = condition != "removed" or container.record.host_config.auto_remove
    if not follows or len(container.held) >= MOST:
        yield
        return
    key = secrets.token_hex(8)
    container.held[key] = descriptor
    if container.task is not None:
        _hold(changing, container, container.task, key)
    try:
        yield
    except asyncio.CancelledError:
        # The client has gone; or the daemon is about to, and the client waits on.
        _release(changing, container, key, answer=descriptor() >= 0)
        raise
    finally:
        container.held.pop(key, None)


def connections(container: Container) -> dict[str, int]:
    """Those of clients that wait for the end of a run which is about to start, by key: for `Task.start`."""
    return {key: fd for key, descriptor in container.held.items() if (fd := descriptor()) >= 0}


def hold_others(changing: Background, container: Container, task: Task, started_with: Iterable[str]) -> None:
    """Those of clients that came while it was starting."""
    for key in container.held.keys() - started_with:
        _hold(changing, container, task, key)


def _hold(changing: Background, container: Container, task: Task, key: str) -> None:
    async def hold() -> None:
        descriptor = container.held.get(key)
        if descriptor is not None and (fd := descriptor()) >= 0:
            await _quietly(task.hold(key, fd))

    changing.spawn(hold(), f"keeping a connection for the end of container {container.id}")


def _release(changing: Background, container: Container, key: str, answer: bool) -> None:
    if container.task is not None:
        work = _quietly(container.task.release(key, answer))
        changing.spawn(work, f"giving up a connection for the end of container {container.id}")


async def _quietly(asking: Awaitable[None]) -> None:
    try:
        await asking
    except CortenError as error:  # the run has ended, or its supervisor does not answer: the daemon's own answer counts
        log.debug("a client's wait is not kept: %s", error)
