"""Taking a client's connection out of aiohttp's hands, as attach and exec do.

This module and `corten.http.heads` are the only ones that touch aiohttp's and asyncio's inner workings; here it is
four overrides (`connection_made`, `connection_lost`, `eof_received`, `finish_response`), four private attributes
(`_message_tail`, `_payload_parser`, `_request_count`, `_upgraded`) and the transport's `max_size`.
tests/contract/test_hijack.py holds what must stay true.

How it goes. aiohttp's parser keeps the bytes behind a request's head only for "Upgrade: websocket"; for "tcp" it drops
them. So the head of a request that may be hijacked (by its path) is rewritten before the parser sees it: it gets
"Upgrade: websocket", and what the client really asked for goes into `ASKED`. The parser then reads head and body as
always and leaves everything behind them in `_message_tail`. A handler that hijacks sends the answer's head itself,
takes those bytes, duplicates the socket's descriptor and returns `Hijacked`; aiohttp then closes its own descriptor,
which does not end the connection. A handler that does not hijack answers as always, and aiohttp parses the rest as the
next request.

A connection whose first bytes are HTTP/2's preface was never aiohttp's: its descriptor is duplicated likewise and given
to `on_http2` with all that was read.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import socket
import sys
import termios
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from corten.api.call import HEADERS, json_answer
from corten.errors import Unsupported
from corten.http.heads import BoundedHeads

log = logging.getLogger(__name__)
ASKED = "X-Corten-Upgrade"
RAW, FRAMED = "application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream"
_END = re.compile(rb"\n\r?\n")
_CANDIDATE = re.compile(
    rb"POST\s+(?:http://[^/\s]*)?(?:/v[0-9.]+)?/(?:(?:containers|vms)/[^\s?]+/attach|exec/[^\s?]+/start"
    rb"|pods/[^\s?]+/dial|session|grpc|build/stream)[?\s]"
)
_BLANK = b"\r\n"
_HEADER = re.compile(rb"\r\n(upgrade|connection|x-corten-upgrade):([^\r\n]*)", re.IGNORECASE)
PREFACE = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4; `corten.http2` comes with the first that sends it
)
_PIECE = 1 << 16  # bytes; asyncio makes room for 256 KiB before each read, and each such buffer costs page faults
_MAX_PATH = 1 << 16  # bytes of a request's first line
_READ_PATIENCE = 2.0  # seconds; the usual wait is 0.1 ms, and many times that on a machine with much to do


class Taken(NamedTuple):
    """A connection that is ours now: `fd` (non-blocking, the taker closes it) and what the client sent already."""

    fd: int
    early: bytes


class Connection(BoundedHeads):
    """One client connection. See the module for what it adds. Without `on_http2` HTTP/2 is a malformed request."""

    __slots__ = ("_head", "_on_http2", "ended", "stream", "taken")

    def __init__(self, *args: Any, on_http2: Callable[[Taken], object] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._on_http2 = on_http2
        self._head = bytearray()
        self.stream: asyncio.Task[Any] | None = None  # an answer that goes on, and ends with the connection
        self.ended = False  # the client has sent all that it will send
        self.taken = False  # what follows on this connection is not HTTP any more

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        transport.max_size = _PIECE  # type: ignore[attr-defined]

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.stream is not None:
            self.stream.cancel()

    def error_answer(self, status: int, text: str) -> web.Response:
        return json_answer({"message": text}, status, HEADERS)

    def _head_received(self, data: bytes) -> None:
        """A head that may have to be rewritten is kept until it is whole; everything else is the parser's at once."""
        if not self._head:
            if data[0] in _BLANK:
                begin = len(data) - len(data.lstrip(b"\r\n"))
                self._feed(data[:begin])  # blank lines before a request; or the end of a head that the parser holds
                if begin < len(data):
                    self.data_received(data[begin:])
                return
            if not data.startswith(PREFACE[:2]) and not _may_be_candidate(data):
                self._feed(data)
                return
        seen = max(0, len(self._head) - 2)
        self._head += data
        if self._is_http2():
            return
        found = _END.search(self._head, seen)
        if found is None and _may_be_candidate(self._head):
            self._head_grows(self._head_size + len(data))
            return
        head, self._head = bytes(self._head), bytearray()
        self._head_size -= len(head) - len(data)  # those are counted again
        end = found.end() if found else 0
        if end and head[:end].endswith(b"\r\n\r\n") and _CANDIDATE.match(head):
            self._feed(rewrite(head[: end - 4]) + head[end - 4 :])
        else:
            self._feed(head)

    def _is_http2(self) -> bool:
        """True when this connection began with HTTP/2's preface, or with a part of it of which the rest may come."""
        if self._on_http2 is None or self._request_count or self._head[: len(PREFACE)] != PREFACE[: len(self._head)]:
            return False
        if len(self._head) < len(PREFACE):
            self._head_grows(len(self._head))
            return True
        self._head_ended()
        assert self.transport is not None
        try:
            fd = os.dup(self.transport.get_extra_info("socket").fileno())
        except OSError as error:
            log.error("cannot serve a connection of HTTP/2: %s", error.strerror)
        else:
            self._on_http2(Taken(fd, bytes(self._head)))
        self.transport.close()
        return True

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """True keeps the connection open for writing: a client that only closed its sending side reads on. One of a
        websocket says its end in a message."""
        self.ended = True
        return self._upgraded and self._payload_parser is None

    def finish_response(
        self, request: Any, resp: Any, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[Any, bool]]:
        if self.taken and not isinstance(resp, Hijacked):
            resp = Hijacked()  # a failure after that: the stream's end shows it, a response would keep it open
        if self.ended and not self._message_tail and not self._messages and not isinstance(resp, Hijacked):
            resp.force_close()  # no next request can come
        return super().finish_response(request, resp, start_time)


def _may_be_candidate(head: bytes | bytearray) -> bool:
    """Whether a head that is not whole may turn out to be one to rewrite."""
    if b"\n" in head[:_MAX_PATH]:
        return _CANDIDATE.match(head) is not None
    return head.startswith(b"POST"[: len(head)]) and len(head) < _MAX_PATH


def rewrite(head: bytes) -> bytes:
    """A request's head (without the empty line) made to look like a websocket upgrade; `ASKED` holds the original.

    A client that closes after the answer, should that be none to an upgrade, is understood as with any other request.
    """
    asked, connection = b"", b"Upgrade"
    for name, value in _HEADER.findall(head):
        if name.lower() == b"upgrade":
            asked = value.strip()
        elif name.lower() == b"connection" and b"close" in value.lower().replace(b" ", b"").split(b","):
            connection = b"close, Upgrade"
    kept = _HEADER.sub(b"", head)
    fields = (b"Connection: " + connection, b"Upgrade: websocket", ASKED.encode() + b": " + asked)
    return b"\r\n".join((kept, *fields))


class Hijacked(web.StreamResponse):
    """What a handler returns after `take`: there is nothing more to answer on this connection."""

    def __init__(self) -> None:
        super().__init__()
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return


@contextmanager
def tied(request: web.BaseRequest) -> Iterator[asyncio.Task[Any]]:
    """The task that answers, which is cancelled when the client disconnects before the end of the block.

    ConnectionResetError when it has done so.
    """
    task, protocol = asyncio.current_task(), request.protocol
    assert task is not None
    assert isinstance(protocol, Connection)
    if protocol.transport is None:
        raise ConnectionResetError("the client has gone")
    protocol.stream = task
    try:
        yield task
    finally:
        protocol.stream = None


def has_ended(request: web.BaseRequest) -> bool:
    """The client has sent all that it will send."""
    return isinstance(request.protocol, Connection) and request.protocol.ended


async def take(request: web.BaseRequest, framed: bool, stream_types: bool) -> Taken:
    """Answer 101 (200 when the client did not ask for an upgrade) and take the connection.

    `framed` output announces itself in Content-Type where the API version has that (`stream_types`) and the client
    upgraded. ConnectionResetError when the client has gone.
    """
    upgrade = request.headers.get(ASKED, "")
    return await take_after(request, head(upgrade, framed and stream_types))


async def take_after(request: web.BaseRequest, answer: bytes) -> Taken:
    """The same behind this head of an answer."""
    protocol, transport = request.protocol, request.transport
    if transport is None or not isinstance(protocol, Connection):
        raise ConnectionResetError("the client has gone")
    if transport.get_extra_info("sslcontext") is not None:
        raise Unsupported("attach and exec need corten.api.tls.TlsFront before the API, not asyncio's TLS")
    transport.pause_reading()
    protocol.taken = True
    transport.write(answer)
    await _read_by_client(transport)
    early, protocol._message_tail = protocol._message_tail, b""
    return Taken(os.dup(transport.get_extra_info("socket").fileno()), early)


def head(upgrade: str, framed: bool) -> bytes:
    """The answer's head, byte for byte what clients of dockerd see."""
    if not upgrade:
        return f"HTTP/1.1 200 OK\r\nContent-Type: {RAW}\r\n\r\n".encode()
    kind = FRAMED if framed else RAW
    return f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {kind}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()


async def _read_by_client(transport: asyncio.WriteTransport) -> None:
    """Wait until the client has read the head, or seems not to be about to.

    docker-py reads the head through a buffer and everything after it from the bare socket: what it finds behind the
    head in the same read is lost to it. dockerd is slow enough never to be caught by that; we are not.
    """
    sock = transport.get_extra_info("socket")
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + _READ_PATIENCE, 0.0
    while transport.get_write_buffer_size() or (sock.family == socket.AF_UNIX and _unread(sock.fileno())):
        if transport.is_closing():
            raise ConnectionResetError("the client has gone")
        if loop.time() > deadline:
            break
        await asyncio.sleep(pause)
        pause = min(1.2 * pause + 0.0001, 0.02)
    if transport.get_write_buffer_size():
        raise ConnectionResetError("the client does not read")


def _unread(fd: int) -> int:
    """What the other side of a unix socket has not read yet; 0 only when it read everything (unix(7), SIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0\0\0\0"), sys.byteorder)
