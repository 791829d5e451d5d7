"""The channels of an exec or attach, over SPDY and over WebSockets: standard streams, an end, sizes of a terminal.

async for channel, data in channels.receive(): ...      # b"" for the end of standard input
await channels.send(STDOUT, data)
await channels.finish(status)                           # the JSON of a metav1.Status
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from typing import Protocol

from corten.aio.taking import disconnected
from corten.cri.streaming import spdy, websocket
from corten.errors import Invalid

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
NAMES = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}
_CLOSE = 255  # of v5: the next byte names the channel that ends
_READ = 1 << 16
_PATIENCE = 30.0  # seconds for a client to open its streams
_LAST = 5.0  # seconds for it to read the end
_EARLY = 1 << 20  # bytes that may come before it has opened all that it asked for
_EACH = 100  # bytes that a piece costs whatever its length

#: By which a client asks, best first.
WEBSOCKETS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
SPDIES = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")


class Channels(Protocol):
    def receive(self) -> AsyncIterator[tuple[int, bytes]]:
        """Until the client leaves. Raises Invalid, ConnectionError."""

    async def send(self, channel: int, data: bytes) -> None:
        """Wait until there is room. Raises ConnectionError."""

    async def finish(self, status: bytes) -> None:
        """The end, and why."""

    def left(self) -> bool:
        """The client has disconnected, also where not all has been received that it sent."""


class SpdyChannels:
    """Each channel is a stream, which a header names. `wanted` are those that are waited for first."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wanted: set[int]) -> None:
        self._reader, self._writer = reader, writer
        self._frames = spdy.Frames()
        self._streams: dict[int, int] = {}  # by channel
        self._wanted = wanted
        self._early: list[tuple[int, bytes]] = []

    async def open(self) -> None:
        """Raises Invalid when the client does not open what it asked for."""
        size = 0
        try:
            async with asyncio.timeout(_PATIENCE):
                while not self._wanted <= self._streams.keys():
                    if not (data := await self._reader.read(_READ)):
                        raise ConnectionResetError("the client left before it opened its streams")
                    events = self._events(data)
                    self._early += events
                    size += sum(_EACH + len(piece) for _, piece in events)
                    if size > _EARLY:
                        raise Invalid("the client did not open the streams that it asked for, and sends to others")
                    await self._writer.drain()
        except TimeoutError:
            raise Invalid("the client did not open the streams that it asked for") from None

    def _events(self, data: bytes) -> list[tuple[int, bytes]]:
        found, answers = [], bytearray()
        for event in self._frames.receive(data):
            match event:
                case spdy.Opened():
                    answers += self._opened(event)
                case spdy.Data():
                    found += self._data(event)
                case spdy.Ping():
                    answers += self._frames.pong(event.number)
                case spdy.Reset():
                    found += self._data(spdy.Data(event.stream, b"", True))
                case spdy.Leaving():
                    pass
        if answers:  # at once: each write to one that has left is a line in the log
            self._writer.write(answers)
        return found

    def _opened(self, event: spdy.Opened) -> bytes:
        channel = NAMES.get(event.headers.get("streamtype", ""))
        if channel is None or channel in self._streams:
            return self._frames.reset(event.stream, 3)
        self._streams[channel] = event.stream
        return self._frames.reply(event.stream)

    def _data(self, event: spdy.Data) -> list[tuple[int, bytes]]:
        channel = next((each for each, stream in self._streams.items() if stream == event.stream), None)
        if channel not in (STDIN, RESIZE):
            return []
        found = [(channel, event.data)] if event.data else []
        return [*found, (STDIN, b"")] if event.end and channel == STDIN else found

    async def receive(self) -> AsyncIterator[tuple[int, bytes]]:
        early, self._early = self._early, []
        for each in early:
            yield each
        while data := await self._reader.read(_READ):
            for found in self._events(data):
                yield found
            await self._writer.drain()

    async def send(self, channel: int, data: bytes) -> None:
        if (stream := self._streams.get(channel)) is not None:
            self._writer.write(self._frames.data(stream, data))
            await self._writer.drain()

    async def finish(self, status: bytes) -> None:
        for channel in (STDOUT, STDERR):
            if (stream := self._streams.get(channel)) is not None:
                self._writer.write(self._frames.data(stream, b"", end=True))
        if (stream := self._streams.get(ERROR)) is not None:
            self._writer.write(self._frames.data(stream, status, end=True))
        try:  # the client closes when it has read all: were we first, what is under way could be lost
            async with asyncio.timeout(_LAST):
                await self._writer.drain()
                while data := await self._reader.read(_READ):
                    self._events(data)
        except (TimeoutError, ConnectionError, Invalid):
            pass

    def left(self) -> bool:
        return disconnected(self._writer.transport)


class SocketChannels:
    """The first byte of a message is its channel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: str) -> None:
        self._reader, self._writer = reader, writer
        self._messages = websocket.Messages()
        self._closes = protocol.startswith("v5")
        self._base64 = "base64" in protocol

    async def receive(self) -> AsyncIterator[tuple[int, bytes]]:
        while data := await self._reader.read(_READ):
            for message in self._messages.receive(data):
                if message.kind == websocket.CLOSE:
                    self._writer.write(websocket.frame(message.data[:2], websocket.CLOSE))
                    return
                if message.kind == websocket.PING:
                    self._writer.write(websocket.frame(message.data, websocket.PONG))
                    await self._writer.drain()
                elif message.kind in (websocket.TEXT, websocket.BINARY) and message.data:
                    yield self._decoded(message.data)

    def _decoded(self, data: bytes) -> tuple[int, bytes]:
        if self._base64:
            try:
                return data[0] - ord("0"), base64.b64decode(data[1:], validate=True)
            except binascii.Error:
                raise Invalid("a message that is not base64") from None
        if self._closes and data[0] == _CLOSE:
            return (data[1] if len(data) > 1 else STDIN), b""
        return data[0], data[1:]

    async def send(self, channel: int, data: bytes) -> None:
        if self._base64:
            framed = websocket.frame(bytes([ord("0") + channel]) + base64.b64encode(data), websocket.TEXT)
        else:
            framed = websocket.frame(bytes([channel]) + data)
        self._writer.write(framed)
        await self._writer.drain()

    async def finish(self, status: bytes) -> None:
        try:
            async with asyncio.timeout(_LAST):
                await self.send(ERROR, status)
                self._writer.write(websocket.frame((1000).to_bytes(2, "big"), websocket.CLOSE))
                await self._writer.drain()
                while await self._reader.read(_READ):
                    pass
        except (TimeoutError, ConnectionError):
            pass

    def left(self) -> bool:
        return disconnected(self._writer.transport)
