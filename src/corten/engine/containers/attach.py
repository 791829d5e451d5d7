"""Clients of a container's standard streams: attached, replayed to, resized."""

from __future__ import annotations

import logging
import os

from corten.aio.sources import closing
from corten.engine.containers import logs
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.early import EarlyStreams
from corten.engine.containers.execs import check_running
from corten.errors import Conflict, CortenError, Invalid
from corten.spec import detach_keys as keys
from corten.tasks.contract import Stream
from corten.tasks.streams import send

log = logging.getLogger(__name__)
DETACH_KEYS = keys.parse(keys.DEFAULT)


def detach_keys(text: str) -> bytes:
    """ "ctrl-p,ctrl-q" or "a,ctrl-x" as bytes; nothing given is Docker's default. Invalid."""
    try:
        return keys.parse(text) if text else DETACH_KEYS
    except ValueError:
        raise Invalid(f"Invalid detach keys ({text}) provided") from None


def check_attachable(container: Container) -> None:
    """Conflict for a paused or restarting container; one that does not run gets its clients at the start."""
    if container.status in ("paused", "restarting"):
        check_running(container, "attach")
    if container.gone or container.record.state.status in ("removing", "dead"):
        raise Conflict(f"container {container.id} is marked for removal and cannot be attached to")


async def attach(
    containers: Containers, container: Container, early: EarlyStreams, stream: Stream, live: bool, replay: bool
) -> None:
    """Give a client the container's past output (`replay`), and its streams from now on (`live`), which are kept in
    `early` where it has no task.

    Takes `stream.fd` in every case. The daemon keeps no part in a live stream: it is the supervisor's.
    """
    given = False
    try:
        if replay and container.log_path is not None:
            await logs.catch_up(container.task)
            async with closing(logs.replay(container.log_path, stream.mux)) as past:
                async for piece in past:
                    await send(stream.fd, piece)
        if live:
            task = container.task
            given = True
            if task is None:
                early.add(stream)
            else:
                await task.attach(stream)
            containers.publish(container, "attach")
    except ConnectionError:
        return
    except Conflict as error:  # it ended just now, and so does the stream
        log.debug("container %s: attached too late: %s", container.id, error)
    finally:
        if not given:
            os.close(stream.fd)


async def resize(containers: Containers, container: Container, rows: int, columns: int) -> None:
    if container.task is None:
        raise Conflict(f"container {container.id} is not running")
    try:
        await container.task.resize(rows, columns)
    except CortenError as error:
        raise Conflict(f"container {container.id} cannot be resized: {error}") from error
    containers.publish(container, "resize", height=str(rows), width=str(columns))
