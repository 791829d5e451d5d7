"""SPDY/3.1 as Kubernetes' clients speak it, without sockets: bytes in, events out, and the other way round.

    frames = Frames()
    for event in frames.receive(data): ...
    send(frames.reply(event.stream) + frames.data(event.stream, b"x", end=True))

The client opens all streams. Headers are compressed, each direction as one zlib stream with a dictionary that both
sides have. Windows are not kept: those clients neither say nor heed them. Bounded: a frame, and the headers in it.

https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from corten.errors import Invalid

FRAME = 1 << 20  # bytes of a frame that is taken
PIECE = 1 << 14  # bytes of data in one that is sent
_HEADERS = 1 << 16  # bytes of headers, once they are not compressed any more
_VERSION = 0x8003
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY = 1, 2, 3, 6, 7
_FIN = 1
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate"
).split()
_PAIRS = ["method", "get", "status", "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive"]
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
#: The dictionary of section 2.6.10.1.
DICTIONARY = b"".join(len(w).to_bytes(4, "big") + w.encode() for w in (*_WORDS, *_PAIRS, "origin")) + _REST.encode()


class Opened(NamedTuple):
    """A stream of the client's. Header names are lower case. `end`: nothing comes in it."""

    stream: int
    headers: Mapping[str, str]
    end: bool


class Data(NamedTuple):
    stream: int
    data: bytes
    end: bool


class Reset(NamedTuple):
    stream: int


class Ping(NamedTuple):
    """To be answered with `pong`."""

    number: int


class Leaving(NamedTuple):
    """The client opens no more streams."""


Event = Opened | Data | Reset | Ping | Leaving


class Frames:
    """One connection, as the server has it."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def receive(self, data: bytes) -> Iterator[Event]:
        """Raises Invalid for what is no SPDY, or too much of it."""
        rest = self._rest
        rest += data
        while len(rest) >= 8:
            size = int.from_bytes(rest[5:8], "big")
            if size > FRAME:
                raise Invalid(f"a SPDY frame of {size} bytes: {FRAME} are taken")
            if len(rest) < 8 + size:
                return
            head, body = bytes(rest[:8]), bytes(rest[8 : 8 + size])
            del rest[: 8 + size]
            event = self._event(head, body)
            if event is not None:
                yield event

    def _event(self, head: bytes, body: bytes) -> Event | None:
        ends = bool(head[4] & _FIN)
        if not head[0] & 0x80:
            return Data(int.from_bytes(head[:4], "big"), body, ends)
        if int.from_bytes(head[:2], "big") != _VERSION:
            raise Invalid("a SPDY frame of another version")
        kind, first = int.from_bytes(head[2:4], "big"), int.from_bytes(body[:4], "big") & 0x7FFFFFFF
        match kind:
            case 1 if len(body) >= 10:
                return Opened(first, self._headers(body[10:]), ends)
            case 3:
                return Reset(first)
            case 6:
                return Ping(int.from_bytes(body[:4], "big"))
            case 7:
                return Leaving()
            case 8 if len(body) >= 4:
                self._headers(body[4:])  # what is compressed depends on all that came before
        return None

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, _HEADERS)
        except zlib.error as error:
            raise Invalid(f"SPDY headers that cannot be read: {error}") from error
        if self._inflate.unconsumed_tail:
            raise Invalid(f"SPDY headers of more than {_HEADERS} bytes")
        found: dict[str, str] = {}
        texts = _texts(plain)
        for name in texts:
            found[name.lower()] = next(texts, "")
        return found

    def reply(self, stream: int) -> bytes:
        """The stream is accepted."""
        block = self._deflate.compress((0).to_bytes(4, "big")) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _control(_SYN_REPLY, stream.to_bytes(4, "big") + block)

    def data(self, stream: int, data: bytes, end: bool = False) -> bytes:
        """`data` in as many frames as it needs; `end` is behind the last."""
        pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)] or [b""]
        out = bytearray()
        for piece in pieces[:-1]:
            out += stream.to_bytes(4, "big") + len(piece).to_bytes(4, "big") + piece
        last = pieces[-1]
        return (
            bytes(out) + stream.to_bytes(4, "big") + bytes([_FIN if end else 0]) + len(last).to_bytes(3, "big") + last
        )

    def reset(self, stream: int, status: int = 5) -> bytes:
        """5 is CANCEL, 3 REFUSED_STREAM."""
        return _control(_RST_STREAM, stream.to_bytes(4, "big") + status.to_bytes(4, "big"))

    def pong(self, number: int) -> bytes:
        return _control(_PING, number.to_bytes(4, "big"))

    def leave(self) -> bytes:
        return _control(_GOAWAY, bytes(8))


def _control(kind: int, body: bytes, flags: int = 0) -> bytes:
    return _VERSION.to_bytes(2, "big") + kind.to_bytes(2, "big") + bytes([flags]) + len(body).to_bytes(3, "big") + body


def _texts(plain: bytes) -> Iterator[str]:
    """Names and values in turn."""
    at, size = 4, len(plain)
    for _ in range(2 * int.from_bytes(plain[:4], "big")):
        if size - at < 4:
            raise Invalid("SPDY headers that end in the middle")
        length = int.from_bytes(plain[at : at + 4], "big")
        if length > size - at - 4:
            raise Invalid("SPDY headers that end in the middle")
        yield plain[at + 4 : at + 4 + length].decode("latin-1")
        at += 4 + length
