"""Port-forward: each connection of a client's is a pair of SPDY streams, data and error, of one `requestid`.

Over a WebSocket the same SPDY goes through binary messages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from corten.aio.taking import close, disconnected, taken
from corten.cri.daemon import Daemon
from corten.cri.streaming import spdy, websocket
from corten.errors import CortenError, Invalid

log = logging.getLogger(__name__)
PROTOCOL = "portforward.k8s.io"
TUNNELLED = "SPDY/3.1+portforward.k8s.io"
_READ = 1 << 16
_STREAMS = 512  # that a client may have open
_WAITING = 16 << 20  # bytes that it may send and its pod has not taken
_EARLY = _WAITING // _STREAMS // 2  # of them for a pair that nothing takes from yet: all such together leave room
_EACH = 100  # bytes that a piece of them costs whatever its length


class Bytes(Protocol):
    def receive(self) -> AsyncIterator[bytes]: ...

    async def send(self, data: bytes) -> None: ...

    def left(self) -> bool:
        """As of `channels.Channels`."""


class Plain:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def receive(self) -> AsyncIterator[bytes]:
        while data := await self._reader.read(_READ):
            yield data

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def left(self) -> bool:
        return disconnected(self._writer.transport)


class Tunnel:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._messages = websocket.Messages()

    async def receive(self) -> AsyncIterator[bytes]:
        while data := await self._reader.read(_READ):
            for message in self._messages.receive(data):
                if message.kind == websocket.CLOSE:
                    self._writer.write(websocket.frame(message.data[:2], websocket.CLOSE))
                    return
                if message.kind == websocket.PING:
                    self._writer.write(websocket.frame(message.data, websocket.PONG))
                    await self._writer.drain()
                elif message.kind == websocket.BINARY:
                    yield message.data

    async def send(self, data: bytes) -> None:
        self._writer.write(websocket.frame(data))
        await self._writer.drain()

    def left(self) -> bool:
        return disconnected(self._writer.transport)


@dataclass(slots=True)
class Pair:
    """`waiting` is what the client has sent and the pod has not taken; None for its end. `early` bytes came before
    `task`."""

    port: int
    data: int = 0
    error: int = 0
    early: int = 0
    waiting: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    task: asyncio.Task[None] | None = None


class Waiting:
    """Bytes that wait in all pairs of a client together. Who reads from the client waits while they are too many, and
    the client has not `left`."""

    def __init__(self, left: Callable[[], bool]) -> None:
        self._left = left
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, pair: Pair, data: bytes) -> None:
        """Raises ConnectionResetError."""
        while not self._room.is_set():
            await taken(self._made(), self._left)
        self._count(_EACH + len(data))
        pair.waiting.put_nowait(data)

    async def get(self, pair: Pair) -> bytes | None:
        data = await pair.waiting.get()
        if data is not None:
            self._count(-_EACH - len(data))
        return data

    def drop(self, pair: Pair) -> None:
        """Nothing takes what waits there any more."""
        while not pair.waiting.empty():
            if (data := pair.waiting.get_nowait()) is not None:
                self._count(-_EACH - len(data))

    async def _made(self) -> None:
        await self._room.wait()

    def _count(self, more: int) -> None:
        self._bytes += more
        (self._room.set if self._bytes < _WAITING else self._room.clear)()


class Forwarding:
    """One client. `ports` are those that were asked for; () allows any."""

    def __init__(self, daemon: Daemon, pod: str, ports: tuple[int, ...], carrier: Bytes) -> None:
        self._daemon = daemon
        self._pod = pod
        self._ports = ports
        self._carrier = carrier
        self._frames = spdy.Frames()
        self._pairs: dict[str, Pair] = {}
        self._sending = asyncio.Lock()
        self._waiting = Waiting(carrier.left)

    async def run(self) -> None:
        """Until the client leaves. Raises Invalid, ConnectionError."""
        try:
            async for data in self._carrier.receive():
                for event in self._frames.receive(data):
                    await self._do(event)
        finally:
            tasks = {pair.task for pair in self._pairs.values() if pair.task is not None}
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _do(self, event: spdy.Event) -> None:
        match event:
            case spdy.Opened():
                await self._opened(event)
            case spdy.Data():
                for id, pair in self._pairs.items():
                    if pair.data == event.stream:
                        await self._came(id, pair, event)
                        break
            case spdy.Reset():
                for id, pair in list(self._pairs.items()):
                    if event.stream not in (pair.data, pair.error):
                        continue
                    if pair.task is None:
                        self._end(id, pair)
                    else:
                        pair.task.cancel()
            case spdy.Ping():
                await self._send(self._frames.pong(event.number))
            case spdy.Leaving():
                return

    async def _came(self, id: str, pair: Pair, event: spdy.Data) -> None:
        if pair.task is None:
            pair.early += _EACH + len(event.data)
            if pair.early > _EARLY:
                raise Invalid("the client sends to a connection that it has not opened")
        if event.data:
            await self._waiting.put(pair, event.data)
        if event.end:
            pair.waiting.put_nowait(None)
        if self._pairs.get(id) is not pair:  # it has ended meanwhile
            self._waiting.drop(pair)

    async def _opened(self, event: spdy.Opened) -> None:
        kind, id = event.headers.get("streamtype", ""), event.headers.get("requestid", "")
        text = event.headers.get("port", "")
        port = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
        allowed = 0 < port < 65536 and (not self._ports or port in self._ports)
        if kind not in ("data", "error") or not allowed or len(self._pairs) >= _STREAMS:
            await self._send(self._frames.reset(event.stream, 3))
            return
        pair = self._pairs.setdefault(id, Pair(port))
        if getattr(pair, kind):
            await self._send(self._frames.reset(event.stream, 3))
            return
        setattr(pair, kind, event.stream)
        await self._send(self._frames.reply(event.stream))
        if pair.data and pair.error:
            pair.task = asyncio.ensure_future(self._forward(pair))
            pair.task.add_done_callback(lambda _: self._end(id, pair))  # also of one that is cancelled before its start

    def _end(self, id: str, pair: Pair) -> None:
        if self._pairs.get(id) is pair:
            del self._pairs[id]
        self._waiting.drop(pair)

    async def _forward(self, pair: Pair) -> None:
        try:
            try:
                reader, writer = await self._daemon.dial(self._pod, pair.port)
            except CortenError as error:
                await self._send(self._frames.data(pair.error, str(error).encode(), end=True))
                await self._send(self._frames.data(pair.data, b"", end=True))
                return
            try:
                await self._splice(pair, reader, writer)
            finally:
                close(writer)
        except ConnectionError as error:
            log.debug("port-forward: %s", error)

    async def _splice(self, pair: Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taking = asyncio.ensure_future(self._take(pair, writer))
        try:
            with suppress(ConnectionError):
                while data := await reader.read(spdy.PIECE):
                    await self._send(self._frames.data(pair.data, data))
        finally:
            taking.cancel()
            await asyncio.wait({taking})
        await self._send(self._frames.data(pair.data, b"", end=True) + self._frames.data(pair.error, b"", end=True))

    async def _take(self, pair: Pair, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while (data := await self._waiting.get(pair)) is not None:
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        await asyncio.Event().wait()  # until the other direction ends

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            await self._carrier.send(data)
