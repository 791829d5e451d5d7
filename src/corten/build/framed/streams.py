"""Streams of bytes to and from the client: connections to its SSH agent, and its terminal."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from corten.aio.turns import receive
from corten.build.framed.connection import Channel, Connection
from corten.build.patience import patient
from corten.spec import build_frames as f

_PIECE = 1 << 16
_PATIENCE = 30.0  # seconds
Resize = Callable[[int, int], Awaitable[None]]


class ForwardedAgent:
    """`corten.build.contract.Agent`: a channel for each connection."""

    def __init__(self, connection: Connection, id: str) -> None:
        self._connection = connection
        self._id = id

    async def connect(self, fd: int) -> None:
        with socket.socket(fileno=fd) as sock:
            sock.setblocking(False)
            with self._connection.call({"do": "connect", "id": self._id}, bounded=True) as channel:
                await _carry(sock, channel)


class FramedTerminal:
    """`corten.build.contract.Terminal`."""

    def __init__(self, channel: Channel, size: tuple[int, int]) -> None:
        self._channel = channel
        self.size = size

    async def carry(self, fd: int, resize: Resize) -> None:
        with socket.socket(fileno=fd) as sock:
            sock.setblocking(False)
            await _carry(sock, self._channel, resize)


@asynccontextmanager
async def terminal(connection: Connection, why: str) -> AsyncIterator[FramedTerminal | None]:
    """The client's, for a shell. None when it has none."""
    with connection.call({"do": "shell", "why": why}, bounded=True) as channel:
        kind, data = await patient(channel.receive(), _PATIENCE)
        yield FramedTerminal(channel, f.size_of(data)) if kind == f.SIZE else None


async def _carry(sock: socket.socket, channel: Channel, resize: Resize | None = None) -> None:
    """Until either side has ended. Raises OSError, Unavailable."""
    to_client = asyncio.ensure_future(_to_client(sock, channel))
    both = to_client, asyncio.ensure_future(_from_client(sock, channel, resize))
    try:
        done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
    for task in done:
        task.result()


async def _to_client(sock: socket.socket, channel: Channel) -> None:
    while data := await receive(sock, _PIECE):
        await channel.send_slowly(f.DATA, data)


async def _from_client(sock: socket.socket, channel: Channel, resize: Resize | None) -> None:
    loop = asyncio.get_running_loop()
    while True:
        kind, data = await channel.receive()
        if kind == f.SIZE and resize is not None:
            await resize(*f.size_of(data))
        elif kind == f.DATA:
            await loop.sock_sendall(sock, data)
        else:
            return
