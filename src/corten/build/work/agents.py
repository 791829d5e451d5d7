"""A client's SSH agent as a socket of this machine."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from corten.build.contract import Agent

_WAITING = 64  # connections to an agent that are not accepted yet
_OPEN = 64  # that are: whatever a step does, others need descriptors and the client's attention too


@asynccontextmanager
async def serving(agent: Agent, path: Path, uid: int, gid: int, mode: int) -> AsyncIterator[None]:
    """The agent at `path`, of this owner and mode, until the block ends; connections end then too."""
    listening = _listening(path.parent, path.name)
    try:
        os.chown(path, uid, gid)
        os.chmod(path, mode)
        task = asyncio.ensure_future(_serve(listening, agent.connect))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
    finally:
        listening.close()


def _listening(directory: Path, name: str) -> socket.socket:
    """By descriptor: a socket's path must not be longer than 107 bytes."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.bind(f"/proc/self/fd/{fd}/{name}")
        made.listen(_WAITING)
    except BaseException:
        made.close()
        raise
    finally:
        os.close(fd)
    return made


async def _serve(listening: socket.socket, connect: Callable[[int], Awaitable[None]]) -> None:
    """Give each connection to the agent, until cancelled; then those that are open end too. `_OPEN` of them are at a
    time, others wait."""
    loop, room = asyncio.get_running_loop(), asyncio.Semaphore(_OPEN)
    async with asyncio.TaskGroup() as group:
        while True:
            await room.acquire()
            connection, _ = await loop.sock_accept(listening)
            task = group.create_task(_connected(connection, connect))
            task.add_done_callback(partial(_ended, connection, room))


async def _connected(connection: socket.socket, connect: Callable[[int], Awaitable[None]]) -> None:
    with suppress(Exception):  # one connection's end is no other's
        await connect(connection.detach())


def _ended(connection: socket.socket, room: asyncio.Semaphore, task: object) -> None:
    connection.close()  # which one that was cancelled before it began still has
    room.release()
