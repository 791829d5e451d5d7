"""The daemon's end of a build's connection.

    connection = Connection(fd, early)
    with connection.call({"do": "secret", "id": "token"}) as channel:
        kind, data = await channel.receive()
    ...
    await connection.close()

What comes is kept for the channels that wait for it. While that is more than `_KEPT` bytes nothing is read: the disk is
what they wait for. A channel whose other end may never read (an agent's) has a bound of its own instead, and is closed
there: it holds up no other.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from contextlib import suppress

from corten.aio.turns import receive
from corten.errors import Invalid, Unavailable
from corten.spec import build_frames as f
from corten.spec.json import Json

_READ = 1 << 18  # bytes
_KEPT = 4 << 20  # bytes that have come and are not taken
_UNREAD = 1 << 18  # the same of a channel that may not be read
_OWN = 64  # bytes of memory for a frame without a payload
_CHANNELS = 256  # at a time
_UNSENT = 1 << 20  # bytes behind which a sender waits
_BEHIND = 16 << 20  # bytes behind which nothing more is asked: a client that does not read
_LAST = 10.0  # seconds for a client to read what is said last
GONE = "the client has gone"


class Connection:
    """Owns `fd`, whose first bytes are `early`. `ended` is done when the client has gone, or was cut off for what it
    sent; it has the reason then."""

    def __init__(self, fd: int, early: bytes) -> None:
        self._sock = socket.socket(fileno=fd)
        self._sock.setblocking(False)
        self._frames = f.Frames()
        self._channels: dict[int, Channel] = {}
        self._last = 0
        self._kept = 0
        self._room = asyncio.Event()
        self._out: deque[bytes] = deque()
        self._unsent = 0
        self._news, self._sent = asyncio.Event(), asyncio.Event()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.ensure_future(self._read(early))
        self._writing = asyncio.ensure_future(self._write())

    async def close(self) -> None:
        """Send what is to be sent, unless the client has gone or does not read."""
        if not self.ended.done():
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(_LAST):
                    await self._drained(0)
        for task in (self._reading, self._writing):
            task.cancel()
        await asyncio.wait({self._reading, self._writing})
        self._end(GONE)
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    # -------------------------------------------------------------------------------------------------------- calls

    def call(self, request: Json, bounded: bool = False) -> Channel:
        """Ask the client for something. `bounded`: what comes may never be taken. Raises Unavailable."""
        if self.ended.done():
            raise Unavailable(self.ended.result())
        if len(self._channels) >= _CHANNELS:
            raise Unavailable(f"{_CHANNELS} questions to the client are the most there can be at a time")
        if self._unsent > _BEHIND:
            raise Unavailable("the client does not read what it is asked")
        self._last += 1
        channel = self._channels[self._last] = Channel(self, self._last, bounded)
        self.put(f.CALL, self._last, json.dumps(request).encode())
        return channel

    def forget(self, number: int, kept: int) -> None:
        """A channel has been closed with so many bytes that were not taken."""
        self._channels.pop(number, None)
        self.taken(kept)

    def taken(self, count: int) -> None:
        self._kept -= count
        if self._kept <= _KEPT:
            self._room.set()

    # ------------------------------------------------------------------------------------------------------ sending

    def put(self, kind: int, channel: int, data: bytes = b"") -> None:
        """Send it when its turn comes."""
        self._out.append(f.frame(kind, channel, data))
        self._unsent += len(self._out[-1])
        self._news.set()

    async def send(self, kind: int, channel: int, data: bytes) -> None:
        """The same, waiting while much is to be sent. Raises Unavailable when the client has gone."""
        self.put(kind, channel, data)
        await self._drained(_UNSENT)

    async def _drained(self, most: int) -> None:
        while self._unsent > most:
            if self.ended.done():
                raise Unavailable(self.ended.result())
            self._sent.clear()
            await self._sent.wait()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            while self._out:
                data = b"".join(self._out) if len(self._out) > 1 else self._out[0]
                count = len(self._out)
                try:
                    await loop.sock_sendall(self._sock, data)
                except OSError:
                    self._end(GONE)
                    return
                for _ in range(count):
                    self._unsent -= len(self._out.popleft())
                self._sent.set()

    # ---------------------------------------------------------------------------------------------------- receiving

    async def _read(self, early: bytes) -> None:
        try:
            data = early or await receive(self._sock, _READ)
            while data:
                for kind, channel, payload in self._frames.feed(data):
                    self._arrived(kind, channel, payload)
                while self._kept > _KEPT:
                    self._room.clear()
                    await self._room.wait()
                data = await receive(self._sock, _READ)
            self._end(GONE)
        except OSError:
            self._end(GONE)
        except Invalid as error:
            self._end(str(error))

    def _arrived(self, kind: int, number: int, data: bytes) -> None:
        if kind in (f.EVENT, f.CALL, f.WANTED) or not 0 < number <= self._last:
            raise Invalid(f"the client sent a frame of the kind {kind} for the channel {number}")
        channel = self._channels.get(number)
        if channel is None:  # it was closed meanwhile
            return
        if channel.bounded and channel.kept > _UNREAD:
            channel.break_off()
            return
        self._kept += channel.put(kind, data)

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)
            self._sent.set()
            for channel in self._channels.values():
                channel.break_off()
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)


class Channel:
    """One question, and what comes to it; a context manager. `kept` are bytes that have come and are not taken."""

    def __init__(self, connection: Connection, number: int, bounded: bool) -> None:
        self.number = number
        self.bounded = bounded
        self.kept = 0
        self._connection = connection
        self._came: deque[tuple[int, bytes]] = deque()
        self._news = asyncio.Event()
        self._broken = False

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._connection.put(f.END if kind is None else f.ERROR, self.number)
        self._connection.forget(self.number, 0 if self.bounded else self.kept)

    def put(self, kind: int, data: bytes) -> int:
        """The bytes for which others have to wait."""
        size = len(data) + _OWN
        self.kept += size
        self._came.append((kind, data))
        self._news.set()
        return 0 if self.bounded else size

    def break_off(self) -> None:
        """Nothing more comes."""
        self._broken = True
        self._news.set()

    @property
    def came(self) -> bool:
        """Whether there is something to receive."""
        return bool(self._came)

    async def receive(self) -> tuple[int, bytes]:
        """The next frame: kind and payload. Raises Unavailable when the client has gone."""
        return (await self._some(1))[0]

    async def receive_all(self) -> list[tuple[int, bytes]]:
        """All that have come; at least one."""
        return await self._some(len(self._came) or 1, whole=True)

    async def _some(self, count: int, whole: bool = False) -> list[tuple[int, bytes]]:
        while not self._came:
            if self._broken:
                ended = self._connection.ended
                raise Unavailable(ended.result() if ended.done() else "the client was not read for too long")
            self._news.clear()
            await self._news.wait()
        found = [self._came.popleft() for _ in range(len(self._came) if whole else count)]
        size = sum(len(data) + _OWN for _, data in found)
        self.kept -= size
        self._connection.taken(0 if self.bounded else size)
        return found

    def send(self, kind: int, data: bytes = b"") -> None:
        self._connection.put(kind, self.number, data)

    async def send_slowly(self, kind: int, data: bytes) -> None:
        """Wait while much is to be sent. Raises Unavailable."""
        await self._connection.send(kind, self.number, data)
