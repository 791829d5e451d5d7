"""What is spoken on the port "corten.agent", between a guest's first process and the host.

A frame is a kind, the number of a stream and a length, then that many bytes:

    >BII   kind, stream, length (at most `LARGEST`)

    kind      stream         bytes
    CONTROL   0              one JSON object, or the last part of one
    PART      0              a part of an object that is larger than a frame; others follow
    STDIN     a process      for its standard input, or what is typed at its terminal; none: the end
    STDOUT    a process      what it wrote; of a terminal all; none: the end
    STDERR    a process      the same
    DATA      a tree's work  the tar or list; none: the end
    STDIN     a connection   what the host's side sends; none: the end
    STDOUT    a connection   what the guest's side sends; none: the end
    DNS       a question     a question (to the host) or its answer
    CREDIT    any of those   >BI: so many more bytes of this kind may be sent on the stream

A process, work about a tree and a connection have a number that the host gives them and that is never given again; 0
is the first process. Of STDIN, STDOUT, STDERR and DATA a side sends at most `WINDOW` bytes that it has no credit for:
what is not read stops its own stream, and no other one. The first object of a guest that has booted is {"event":
"hello", "version": N}.

This is a codec: bytes in, frames out. Neither side believes the other, so a length is checked before anything is kept
for it, and whatever is no frame is Corrupt; nothing that comes later on the port can be read then.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

from corten.errors import Corrupt, Invalid

VERSION = 1  # of agents
LARGEST = 256 << 10
WINDOW = 128 << 10
FROM_GUEST = LARGEST  # bytes of one object
FROM_HOST = 16 << 20  # a specification may have megabytes of environment

CONTROL, STDIN, STDOUT, STDERR, DATA, DNS, CREDIT, PART = range(8)
STREAMS = (STDIN, STDOUT, STDERR, DATA)
_HEAD = struct.Struct(">BII")
_CREDIT = struct.Struct(">BI")

Json = dict[str, Any]


class Frame(NamedTuple):
    kind: int
    stream: int
    body: bytes


def frame(kind: int, stream: int, body: bytes = b"") -> bytes:
    return _HEAD.pack(kind, stream, len(body)) + body


def message(content: Json, most: int = FROM_HOST) -> bytes:
    """An object as frames. Invalid when it has more than `most` bytes."""
    body = json.dumps(content, separators=(",", ":")).encode()
    if len(body) > most:
        raise Invalid(f"a message of {len(body)} bytes is too long for a guest: at most {most} are taken")
    last = (len(body) - 1) // LARGEST * LARGEST
    parts = [frame(PART, 0, body[start : start + LARGEST]) for start in range(0, last, LARGEST)]
    return b"".join((*parts, frame(CONTROL, 0, body[last:])))


def credit(kind: int, stream: int, count: int) -> bytes:
    return frame(CREDIT, stream, _CREDIT.pack(kind, count))


def credit_of(body: bytes) -> tuple[int, int]:
    """(kind, bytes) of a CREDIT. Corrupt."""
    if len(body) != _CREDIT.size:
        raise Corrupt(f"a credit of {len(body)} bytes")
    kind, count = _CREDIT.unpack(body)
    if kind not in STREAMS or not 0 < count <= WINDOW:
        raise Corrupt(f"a credit of {count} bytes for kind {kind}")
    return kind, count


def content(body: bytes) -> Json:
    """The object of a whole CONTROL. Corrupt."""
    try:
        found = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"a message that is no JSON: {error}") from error
    if type(found) is not dict:
        raise Corrupt("a message that is no JSON object")
    return found


class Decoder:
    """`most`: how many bytes an object from the other side may have."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._buffer = bytearray()
        self._parts = bytearray()

    def feed(self, data: bytes | memoryview) -> None:
        self._buffer += data

    def next(self) -> Frame | None:
        """The next frame, None when there is no whole one yet; parts are put together. Corrupt."""
        while (found := self._one()) is not None:
            kind, stream, body = found
            if kind not in (CONTROL, PART):
                return found
            if len(self._parts) + len(body) > self._most:
                raise Corrupt(f"a message of more than {self._most} bytes")
            self._parts += body
            if kind == CONTROL:
                whole, self._parts = bytes(self._parts), bytearray()
                return Frame(CONTROL, stream, whole)
        return None

    def _one(self) -> Frame | None:
        if len(self._buffer) < _HEAD.size:
            return None
        kind, stream, length = _HEAD.unpack_from(self._buffer)
        if kind > PART:
            raise Corrupt(f"a frame of the unknown kind {kind}")
        if length > LARGEST:
            raise Corrupt(f"a frame of {length} bytes is announced; the limit is {LARGEST}")
        if len(self._buffer) < _HEAD.size + length:
            return None
        body = bytes(self._buffer[_HEAD.size : _HEAD.size + length])
        del self._buffer[: _HEAD.size + length]
        return Frame(kind, stream, body)
