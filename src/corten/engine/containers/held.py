"""Connections of clients that wait for a container's end, with copies in its supervisor.

Docker's client asks once, before the start, and takes a connection that ends for a failure of the run. So it must not
end with this daemon: when that is gone, the supervisor writes the answer (`corten.supervisor.waits`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from corten.engine.containers.container import Condition, Container
from corten.supervisor.waits import MOST
from corten.tasks.contract import Task


@contextmanager
def held(container: Container, condition: Condition, descriptor: Callable[[], int]) -> Iterator[None]:
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
        _hold(container, container.task, key)
    try:
        yield
    except asyncio.CancelledError:
        # The client has gone; or the daemon is about to, and the client waits on.
        if container.task is not None:
            container.task.release(key, answer=descriptor() >= 0)
        raise
    finally:
        container.held.pop(key, None)


def connections(container: Container) -> dict[str, int]:
    """Those of clients that wait for the end of a run which is about to start, by key: for `Task.start`."""
    return {key: fd for key, descriptor in container.held.items() if (fd := descriptor()) >= 0}


def hold_others(container: Container, task: Task, started_with: Iterable[str]) -> None:
    """Those of clients that came while it was starting; of those that it was started with, the ones that have gone
    meanwhile are given up."""
    known = set(started_with)
    for key in container.held.keys() - known:
        _hold(container, task, key)
    for key in known - container.held.keys():
        task.release(key, answer=False)


def _hold(container: Container, task: Task, key: str) -> None:
    if (fd := container.held[key]()) >= 0:
        task.hold(key, fd)
