"""An HTTP/2 connection in the event loop: streams that are read and written, over a socket, or within another stream.

    channel = await over_socket(fd, early, Connection(client=True))
    stream = channel.open(headers)
    await stream.write(data, end=True)
    while piece := await stream.read(): ...
    stream.headers, stream.trailers

A peer that reads nothing blocks the writer of one stream and nothing else; one that reads nothing and asks for answers
is disconnected.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from copy import copy
from typing import Protocol

from corten.errors import Unavailable
from corten.http2 import frames as f
from corten.http2.connection import Connection, Data, Header, Headers, Leaving, Reset, Room
from corten.http2.frames import Http2Error

_UNREAD = 4 << 20  # bytes that a peer may leave unread
_PIECE = 1 << 16
_KEPT = 64 << 20  # bytes of messages: some of the largest that there are


class Budget:
    """Bytes that all streams of a connection may keep of what has come, until it has been worked through."""

    def __init__(self, most: int = _KEPT) -> None:
        self._left = most

    def take(self, count: int) -> bool:
        """As much more; with a negative count it is given back. False, and nothing is taken, where there is no room."""
        if count > max(0, self._left):
            return False
        self._left -= count
        return True


class StreamReset(Exception):
    """The peer has closed a stream before its end."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"the stream was reset with code {self.code}"


class Carrier(Protocol):
    """What a channel's bytes go through. `write` never waits, `unsent` is what has not gone yet."""

    def write(self, data: bytes) -> None: ...

    def unsent(self) -> int: ...

    def close(self) -> None: ...


class Stream:
    """`headers` and `trailers` are the peer's, () before they have come."""

    def __init__(self, channel: Channel, id: int) -> None:
        self._channel = channel
        self.id = id
        self.headers: Sequence[Header] = ()
        self.trailers: Sequence[Header] = ()
        self.ended = False  # nothing more comes
        self.begun_answer = False  # our headers were sent
        self._deaf = False  # the peer has said all, and reads no more
        self.error: Exception | None = None
        self.on_reset: Callable[[], object] = lambda: None
        self._pieces: list[bytes] = []
        self._size = 0  # to be consumed
        self._news = asyncio.Event()
        self.room = asyncio.Event()

    @property
    def budget(self) -> Budget:
        """The connection's."""
        return self._channel.budget

    async def begun(self) -> Sequence[Header]:
        """The peer's headers. Raises StreamReset, Unavailable."""
        while not self.headers and not self.ended:
            await self._next()
        return self.headers

    async def read(self) -> bytes:
        """What has come since the last time, b"" at the end. Behind all of it raises StreamReset, Unavailable."""
        while not self._pieces and not self.ended:
            await self._next()
        data = b"".join(self._pieces)
        self._pieces.clear()
        size, self._size = self._size, 0
        if size:
            self._channel.consumed(self.id, size)
        return data

    async def _next(self) -> None:
        self._check()
        self._news.clear()
        await self._news.wait()

    def _check(self) -> None:
        if self.error is not None:
            # Its own traceback would keep this stream, and so itself and all that its callers have, until a collection.
            raise copy(self.error)

    async def write(self, data: bytes, end: bool = False) -> None:
        """Wait until it is under way. Raises StreamReset, Unavailable."""
        view = memoryview(data)
        while True:
            self._check()
            if self._deaf:
                return
            count = min(len(view), self._channel.room(self.id), _PIECE)
            if count or not view:
                last = count == len(view)
                self._channel.send(self.id, view[:count], end and last)
                view = view[count:]
                if last:
                    return
            self.room.clear()
            if not self._channel.room(self.id):
                await self.room.wait()

    def head(self, headers: Sequence[Header], end: bool = False) -> None:
        """Send headers, or with `end` trailers."""
        self._channel.head(self.id, headers, end)

    def reset(self, code: int = f.CANCEL) -> None:
        """Close it, whatever the peer still does; one that is at its end already is forgotten."""
        self._channel.reset(self.id, code)

    # -------------------------------------------------------------------------------------------------- the channel's

    def took(self, event: Headers | Data) -> None:
        if isinstance(event, Data):
            self._pieces += [event.data] if event.data else []
            self._size += event.size
        elif not self.headers:
            self.headers = event.headers
            if event.end:
                self.trailers = event.headers
        else:
            self.trailers = event.headers
        self.ended = self.ended or event.end
        self._news.set()

    def deafened(self) -> None:
        """All has come that the peer has to say, and what we have is of no interest: so Go's servers end a stream."""
        self._deaf = True
        self.room.set()

    def failed(self, error: Exception) -> None:
        self.error = error
        self._news.set()
        self.room.set()
        self.on_reset()


class Channel:
    """`on_stream` gets those that the peer opens, their headers in place. `on_end` is called once."""

    def __init__(
        self,
        connection: Connection,
        carrier: Carrier,
        on_stream: Callable[[Stream], object],
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._connection = connection
        self._carrier = carrier
        self._on_stream = on_stream
        self._on_end = on_end
        self._streams: dict[int, Stream] = {}
        self.budget = Budget()
        self._leaving = False
        self.closed = False
        self.flush()

    def open(self, headers: Sequence[Header], end: bool = False) -> Stream:
        """Raises Unavailable when the peer has gone."""
        if self.closed or self._leaving:
            raise Unavailable("the client of this session has gone")
        stream = Stream(self, self._connection.open(headers, end))
        self._streams[stream.id] = stream
        self.flush()
        return stream

    def close(self, code: int = f.NO_ERROR) -> None:
        """Say goodbye and end all streams."""
        if not self.closed:
            self._connection.leave(code)
            self.flush()
            self.lost()

    # --------------------------------------------------------------------------------------------------- for a stream

    def room(self, stream: int) -> int:
        return 0 if self._carrier.unsent() > _PIECE else self._connection.room(stream)

    def send(self, stream: int, data: memoryview, end: bool) -> None:
        self._connection.send(stream, data, end)
        self.flush()

    def head(self, stream: int, headers: Sequence[Header], end: bool) -> None:
        self._connection.send_headers(stream, headers, end)
        self.flush()

    def consumed(self, stream: int, size: int) -> None:
        self._connection.consumed(stream, size)
        self.flush()

    def reset(self, stream: int, code: int) -> None:
        self._connection.reset(stream, code)
        self._streams.pop(stream, None)
        self.flush()

    # -------------------------------------------------------------------------------------------------- for a carrier

    def received(self, data: bytes) -> None:
        if self.closed:
            return
        try:
            for event in self._connection.receive(data):
                self._event(event)
        except Http2Error as error:
            self.flush()
            self.lost(Unavailable(f"the client of this session does not speak HTTP/2: {error}"))
            return
        self.flush()
        if self._carrier.unsent() > _UNREAD:
            self.lost()

    def _event(self, event: Headers | Data | Reset | Room | Leaving) -> None:
        match event:
            case Headers() if event.stream not in self._streams:
                self._begin(event)
            case Headers() | Data():
                if (stream := self._streams.get(event.stream)) is not None:
                    stream.took(event)
                elif isinstance(event, Data):
                    self._connection.consumed(event.stream, event.size)
            case Reset():
                if (stream := self._streams.pop(event.stream, None)) is not None:
                    if event.code == f.NO_ERROR and stream.ended:
                        stream.deafened()
                    else:
                        stream.failed(StreamReset(event.code))
            case Room():
                one = self._streams.get(event.stream)
                for stream in [one] if one is not None else list(self._streams.values()) if not event.stream else []:
                    stream.room.set()
            case Leaving():
                self._leaving = True

    def _begin(self, event: Headers) -> None:
        if event.stream % 2:  # a request, as only clients open those
            stream = self._streams[event.stream] = Stream(self, event.stream)
            stream.took(event)
            self._on_stream(stream)

    def sent(self) -> None:
        """The carrier has room again."""
        for stream in list(self._streams.values()):
            stream.room.set()

    def lost(self, error: Exception | None = None) -> None:
        """The carrier is at its end."""
        if self.closed:
            return
        self.closed = True
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.failed(error or Unavailable("the client of this session has gone"))
        self._carrier.close()
        self._on_end()

    def flush(self) -> None:
        if not self.closed and (data := self._connection.outgoing()):
            self._carrier.write(data)


class _Socket(asyncio.Protocol):
    """A socket as a carrier."""

    def __init__(self, make: Callable[[Carrier], Channel], early: bytes) -> None:
        self.channel: Channel | None = None
        self._make = make
        self._early = early
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.max_size = _PIECE  # type: ignore[attr-defined]  # see corten.api.hijack
        transport.set_write_buffer_limits(_PIECE)
        self.channel = self._make(self)
        if self._early:
            self.channel.received(self._early)

    def data_received(self, data: bytes) -> None:
        if self.channel is not None:
            self.channel.received(data)

    def resume_writing(self) -> None:
        if self.channel is not None:
            self.channel.sent()

    def connection_lost(self, error: Exception | None) -> None:
        if self.channel is not None:
            self.channel.lost()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def unsent(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def close(self) -> None:
        """What little is left is still sent; a peer that does not read it keeps nothing open."""
        if self._transport is not None and not self._transport.is_closing():
            if self.unsent():
                self._transport.abort()
            else:
                self._transport.close()


def refused(stream: Stream) -> None:
    stream.reset(f.REFUSED_STREAM)


async def over_socket(
    fd: int,
    early: bytes,
    connection: Connection,
    on_stream: Callable[[Stream], object] = refused,
    on_end: Callable[[], object] = lambda: None,
) -> Channel:
    """`fd` is the channel's from now on; `early` are bytes of the peer that were read with what came before."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    carrier = _Socket(lambda made: Channel(connection, made, on_stream, on_end), early)
    try:
        await asyncio.get_running_loop().create_connection(lambda: carrier, sock=sock)
    except BaseException:
        sock.close()
        raise
    assert carrier.channel is not None
    return carrier.channel
