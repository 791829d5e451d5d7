"""One HTTP/2 connection without its socket (RFC 9113): bytes in, events out, and the other way round. Both roles.

    connection = Connection(client=True)
    stream = connection.open(headers)                   # or what a Headers event names
    connection.send(stream, data[: connection.room(stream)])
    for event in connection.receive(bytes): ...
    socket.send(connection.outgoing())

Bounded against any peer: a header block, the headers in it, what it may send of a stream before that is `consumed`, the
streams it may have open, and frames that bring nothing (pings, settings, empty data, resets).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import hpack

from corten.http2 import frames as f
from corten.http2.frames import Frame, Http2Error

Header = tuple[str, str]
FRAME = 1 << 14  # bytes of a payload, both ways: what every peer takes
HEADERS = 1 << 16  # bytes of a header block, and of the list in it
_FIELDS = 256  # headers in it: each takes time, also where it takes a byte
STREAMS = 100  # that a peer may have open
_DEFAULT = 65535  # a window, before anything is said of it
_CONNECTION = 16 << 20  # bytes of all streams that may be under way: they are counted as soon as they are here
_MOST = f.STREAM  # of a window
_IDLE = 10_000  # frames that bring nothing; each that brings something allows for more of them
_CONSUMED = 2048  # bytes that we have sent, for each of which the peer may say once that it has consumed something
_RESETS = 500  # of streams by the peer; each that ended well allows for one more


class Headers(NamedTuple):
    """The head of a request or an answer, or what follows its data. `end`: nothing comes behind it."""

    stream: int
    headers: Sequence[Header]
    end: bool


class Data(NamedTuple):
    """`size` is what has to be `consumed`: with the padding."""

    stream: int
    data: bytes
    size: int
    end: bool


class Reset(NamedTuple):
    """The peer has closed a stream."""

    stream: int
    code: int


class Room(NamedTuple):
    """There may be more room to send, in one stream, or in all (0)."""

    stream: int


class Leaving(NamedTuple):
    """GOAWAY: streams above `last` are not looked at, and there is no use in opening others."""

    last: int
    code: int


Event = Headers | Data | Reset | Room | Leaving


@dataclass(slots=True)
class _Stream:
    sendable: int
    receivable: int
    consumed: int = 0  # not yet said
    ended: bool = False  # ours
    peer_began: bool = False
    peer_ended: bool = False


class Connection:
    """`window` is what may be under way in each stream, bytes."""

    def __init__(self, client: bool, window: int = 1 << 20) -> None:
        self._client = client
        self._window = window
        self._cutter = f.Cutter(FRAME)
        self._preface = b"" if client else f.PREFACE  # what is still to come of it
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder(HEADERS)
        self._streams: dict[int, _Stream] = {}
        self._ours, self._theirs = (1, 0) if client else (2, -1)  # our next, their last
        self._sendable, self._consumed = _DEFAULT, 0
        self._receivable = _CONNECTION
        self._initial = _DEFAULT  # what a stream's sendable begins with
        self._block: tuple[int, bytearray, bool] | None = None  # stream, a header block that goes on, its end
        self._idle, self._resets = _IDLE, _RESETS
        self._settled = False  # the peer's first SETTINGS has come
        self._out = bytearray(f.PREFACE if client else b"")
        ours = {f.INITIAL_WINDOW_SIZE: window, f.MAX_HEADER_LIST_SIZE: HEADERS}
        ours |= {f.ENABLE_PUSH: 0} if client else {f.MAX_CONCURRENT_STREAMS: STREAMS}
        self._out += f.settings(ours)
        self._out += f.frame(f.WINDOW_UPDATE, 0, 0, (_CONNECTION - _DEFAULT).to_bytes(4, "big"))

    def outgoing(self) -> bytes:
        """What is to be sent, once."""
        out, self._out = bytes(self._out), bytearray()
        return out

    # ------------------------------------------------------------------------------------------------------- sending

    def open(self, headers: Sequence[Header], end: bool = False) -> int:
        """A stream of ours."""
        stream, self._ours = self._ours, self._ours + 2
        self._streams[stream] = _Stream(self._initial, self._window)
        self.send_headers(stream, headers, end)
        return stream

    def send_headers(self, stream: int, headers: Sequence[Header], end: bool = False) -> None:
        """Nothing happens when the stream has been closed."""
        state = self._streams.get(stream)
        if state is None or state.ended:
            return
        block = self._encoder.encode(headers)
        for at in range(0, len(block) or 1, FRAME):
            flags = (f.END_HEADERS if at + FRAME >= len(block) else 0) | (f.END_STREAM if end and not at else 0)
            self._out += f.frame(f.CONTINUATION if at else f.HEADERS, flags, stream, block[at : at + FRAME])
        if end:
            self._end(stream, state)

    def room(self, stream: int) -> int:
        """Bytes that may be sent now; 0 also for a stream that was closed."""
        state = self._streams.get(stream)
        return max(0, min(self._sendable, state.sendable)) if state is not None and not state.ended else 0

    def is_open(self, stream: int) -> bool:
        """For sending."""
        state = self._streams.get(stream)
        return state is not None and not state.ended

    def send(self, stream: int, data: bytes | memoryview, end: bool = False) -> None:
        """At most what there is room for. Nothing happens when the stream has been closed."""
        state = self._streams.get(stream)
        if state is None or state.ended:
            return
        size = len(data)
        state.sendable -= size
        self._sendable -= size
        for at in range(0, size, FRAME):
            last = end and at + FRAME >= size
            self._out += f.frame(f.DATA, f.END_STREAM if last else 0, stream, bytes(data[at : at + FRAME]))
            # The peer says what it has consumed: Go's server twice for each 8 KiB that its handler reads, or for less.
            self._brings(2 + min(FRAME, size - at) // _CONSUMED)
        if end and not size:
            self._out += f.frame(f.DATA, f.END_STREAM, stream)
        if end:
            self._end(stream, state)

    def reset(self, stream: int, code: int = f.CANCEL) -> None:
        """Close a stream. Nothing happens when that was done."""
        if self._streams.pop(stream, None) is not None:
            self._out += f.frame(f.RST_STREAM, 0, stream, code.to_bytes(4, "big"))

    def leave(self, code: int = f.NO_ERROR) -> None:
        """GOAWAY: no new streams of the peer."""
        self._out += f.frame(f.GOAWAY, 0, 0, max(0, self._theirs).to_bytes(4, "big") + code.to_bytes(4, "big"))

    def consumed(self, stream: int, size: int) -> None:
        """Let the peer send as much again."""
        state = self._streams.get(stream)
        if state is None or state.peer_ended:
            return
        state.consumed += size
        if state.consumed * 4 >= self._window:
            self._out += f.frame(f.WINDOW_UPDATE, 0, stream, state.consumed.to_bytes(4, "big"))
            state.receivable += state.consumed
            state.consumed = 0

    def _end(self, stream: int, state: _Stream) -> None:
        state.ended = True
        self._forget(stream, state)

    def _forget(self, stream: int, state: _Stream) -> None:
        if state.ended and state.peer_ended:
            self._streams.pop(stream, None)
            self._resets = min(self._resets + 1, _RESETS)

    # ----------------------------------------------------------------------------------------------------- receiving

    def receive(self, data: bytes) -> Iterator[Event]:
        """Raises Http2Error; the connection is of no further use then, and `outgoing` says so to the peer."""
        try:
            if self._preface:
                data = self._begun(data)
            for frame in self._cutter.feed(data):
                yield from self._frame(frame)
        except Http2Error as error:
            self.leave(error.code)
            raise

    def _begun(self, data: bytes) -> bytes:
        size = len(self._preface)
        if data[:size] != self._preface[: len(data)]:
            raise Http2Error("this is not HTTP/2")
        self._preface = self._preface[len(data) :]
        return data[size:]

    def _frame(self, frame: Frame) -> Iterator[Event]:
        if self._block is not None and frame.type != f.CONTINUATION:
            raise Http2Error("a header block that is not continued")
        if not self._settled and frame.type != f.SETTINGS:
            raise Http2Error("a connection that does not begin with SETTINGS")
        match frame.type:
            case f.DATA:
                yield from self._data(frame)
            case f.HEADERS:
                yield from self._headers(frame)
            case f.CONTINUATION:
                yield from self._continued(frame)
            case f.SETTINGS:
                yield from self._settings(frame)
            case f.WINDOW_UPDATE:
                yield from self._more_room(frame)
            case f.RST_STREAM:
                yield from self._reset(frame)
            case f.PING:
                self._ping(frame)
            case f.GOAWAY:
                self._connection_frame(frame)
                if len(frame.payload) < 8:
                    raise Http2Error("a short GOAWAY", f.FRAME_SIZE_ERROR)
                last, code = (int.from_bytes(frame.payload[at : at + 4], "big") for at in (0, 4))
                yield Leaving(last & f.STREAM, code)
            case f.PUSH_PROMISE:
                raise Http2Error("a PUSH_PROMISE, which was not allowed")
            case _:  # PRIORITY, and what is not known, which is ignored
                self._brings_nothing()

    def _brings(self, count: int) -> None:
        self._idle = min(self._idle + count, 10 * _IDLE)

    def _brings_nothing(self) -> None:
        self._idle -= 1
        if self._idle < 0:
            raise Http2Error("more frames that bring nothing than are allowed", f.ENHANCE_YOUR_CALM)

    def _connection_frame(self, frame: Frame) -> None:
        self._brings_nothing()
        if frame.stream:
            raise Http2Error("a frame of the connection in a stream")

    def _data(self, frame: Frame) -> Iterator[Event]:
        size = len(frame.payload)
        self._receivable -= size
        if self._receivable < 0:
            raise Http2Error("more data than the connection's window", f.FLOW_CONTROL_ERROR)
        self._consumed += size
        if self._consumed * 4 >= _CONNECTION:
            self._out += f.frame(f.WINDOW_UPDATE, 0, 0, self._consumed.to_bytes(4, "big"))
            self._receivable += self._consumed
            self._consumed = 0
        if not size and not frame.flags & f.END_STREAM:
            self._brings_nothing()
        else:
            self._brings(frame.frames)
        state = self._known(frame.stream)
        if state is None:
            return
        if state.peer_ended:
            raise Http2Error("data behind a stream's end", f.STREAM_CLOSED)
        state.receivable -= size
        if state.receivable < 0:
            raise Http2Error("more data than the stream's window", f.FLOW_CONTROL_ERROR)
        end = bool(frame.flags & f.END_STREAM)
        if end:
            state.peer_ended = True
            self._forget(frame.stream, state)
        yield Data(frame.stream, f.unpadded(frame), size, end)

    def _known(self, stream: int) -> _Stream | None:
        """None for one that was closed. Raises Http2Error for one that never was."""
        if (state := self._streams.get(stream)) is not None:
            return state
        ours = bool(stream % 2) is self._client
        if not stream or (stream >= self._ours if ours else stream > self._theirs):
            raise Http2Error(f"a frame of the stream {stream}, which was not opened")
        return None

    def _headers(self, frame: Frame) -> Iterator[Event]:
        self._block = frame.stream, bytearray(f.unpadded(frame)), bool(frame.flags & f.END_STREAM)
        if frame.flags & f.END_HEADERS:
            yield from self._whole_block()

    def _continued(self, frame: Frame) -> Iterator[Event]:
        if self._block is None or self._block[0] != frame.stream:
            raise Http2Error("a CONTINUATION of nothing")
        self._brings_nothing()
        self._block[1].extend(frame.payload)
        if len(self._block[1]) > HEADERS:
            raise Http2Error(f"a header block above {HEADERS} bytes", f.ENHANCE_YOUR_CALM)
        if frame.flags & f.END_HEADERS:
            yield from self._whole_block()

    def _whole_block(self) -> Iterator[Event]:
        assert self._block is not None
        (stream, block, end), self._block = self._block, None
        headers = self._decoded(bytes(block))
        self._brings(2)
        state = self._streams.get(stream)
        if state is None and not self._client and stream > self._theirs and stream % 2:
            self._theirs = stream
            state = _Stream(self._initial, self._window)
            if len(self._streams) >= STREAMS:
                self._out += f.frame(f.RST_STREAM, 0, stream, f.REFUSED_STREAM.to_bytes(4, "big"))
                self._reset_by_peer()
                return
            self._streams[stream] = state
        elif state is None:
            self._known(stream)
            return  # closed meanwhile
        if state.peer_ended:
            raise Http2Error("headers behind a stream's end", f.STREAM_CLOSED)
        if state.peer_began and not end:  # section 8.1
            raise Http2Error("trailers that do not end their stream")
        state.peer_began = True
        if end:
            state.peer_ended = True
            self._forget(stream, state)
        yield Headers(stream, headers, end)

    def _decoded(self, block: bytes) -> list[Header]:
        try:
            found = list(self._decoder.decode(block, raw=True))
        except hpack.OversizedHeaderListError as error:
            raise Http2Error(f"headers above {HEADERS} bytes", f.ENHANCE_YOUR_CALM) from error
        except (hpack.HPACKError, IndexError, ValueError) as error:
            raise Http2Error(f"a header block that cannot be read: {error}", f.COMPRESSION_ERROR) from error
        if len(found) > _FIELDS:
            raise Http2Error(f"more than {_FIELDS} headers", f.ENHANCE_YOUR_CALM)
        return [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in found]

    def _settings(self, frame: Frame) -> Iterator[Event]:
        self._connection_frame(frame)
        self._settled = True
        if frame.flags & f.ACK:
            return
        initial = self._initial
        for key, value in f.read_settings(frame.payload):
            if key == f.INITIAL_WINDOW_SIZE:
                if value > _MOST:
                    raise Http2Error("a window above 2^31-1", f.FLOW_CONTROL_ERROR)
                initial = value
            elif key == f.HEADER_TABLE_SIZE:
                self._encoder.header_table_size = min(value, 4096)
        for state in self._streams.values():  # once: there may be thousands of values
            state.sendable += initial - self._initial
        self._initial = initial
        self._out += f.frame(f.SETTINGS, f.ACK, 0)
        yield Room(0)

    def _more_room(self, frame: Frame) -> Iterator[Event]:
        self._brings_nothing()
        size = f.number(frame.payload, "a WINDOW_UPDATE") & f.STREAM
        if not size:
            raise Http2Error("a WINDOW_UPDATE of nothing")
        if not frame.stream:
            self._sendable += size
            if self._sendable > _MOST:
                raise Http2Error("a window above 2^31-1", f.FLOW_CONTROL_ERROR)
        elif (state := self._known(frame.stream)) is not None:
            state.sendable += size
            if state.sendable > _MOST:
                raise Http2Error("a window above 2^31-1", f.FLOW_CONTROL_ERROR)
        yield Room(frame.stream)

    def _reset(self, frame: Frame) -> Iterator[Event]:
        self._brings_nothing()
        code = f.number(frame.payload, "a RST_STREAM")
        if (state := self._known(frame.stream)) is None:
            return
        if code != f.NO_ERROR or not state.peer_ended:  # which is how Go's servers end a stream that we have not
            self._reset_by_peer()
        del self._streams[frame.stream]
        yield Reset(frame.stream, code)

    def _reset_by_peer(self) -> None:
        self._resets -= 1
        if self._resets < 0:
            raise Http2Error("more streams were reset than are allowed", f.ENHANCE_YOUR_CALM)

    def _ping(self, frame: Frame) -> None:
        self._connection_frame(frame)
        if len(frame.payload) != 8:
            raise Http2Error("a PING that is not of 8 bytes", f.FRAME_SIZE_ERROR)
        if not frame.flags & f.ACK:
            self._out += f.frame(f.PING, f.ACK, 0, frame.payload)
