"""Frames of WebSockets (RFC 6455) as a server has them, without sockets."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from corten.errors import Invalid

MESSAGE = 1 << 20  # bytes of a message that is taken
_CONTROL = 125  # bytes of a control frame
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Message(NamedTuple):
    kind: int
    data: bytes


def accept(key: str) -> str:
    """Sec-WebSocket-Accept for a client's key."""
    return base64.b64encode(hashlib.sha1(f"{key}{_MAGIC}".encode(), usedforsecurity=False).digest()).decode()


def frame(data: bytes, kind: int = BINARY) -> bytes:
    size = len(data)
    if size < 126:
        head = bytes([0x80 | kind, size])
    elif size < 1 << 16:
        head = bytes([0x80 | kind, 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | kind, 127]) + size.to_bytes(8, "big")
    return head + data


class Messages:
    """Bytes in, messages out. Raises Invalid for what is none, or too long."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._kind = 0
        self._parts = bytearray()

    def receive(self, data: bytes) -> Iterator[Message]:
        self._rest += data
        while (found := self._frame()) is not None:
            final, kind, body = found
            if kind >= CLOSE:
                if len(body) > _CONTROL or not final:  # section 5.5
                    raise Invalid("a WebSocket control frame that is too long, or not whole")
                yield Message(kind, body)
                continue
            if kind and self._kind:
                raise Invalid("a WebSocket message within another")
            self._kind = self._kind or kind
            if not self._kind:
                raise Invalid("a WebSocket message that goes on and did not begin")
            self._parts += body
            if len(self._parts) > MESSAGE:
                raise Invalid(f"a WebSocket message of more than {MESSAGE} bytes")
            if final:
                yield Message(self._kind, bytes(self._parts))
                self._kind = 0
                self._parts.clear()

    def _frame(self) -> tuple[bool, int, bytes] | None:
        rest = self._rest
        if len(rest) < 2:
            return None
        if rest[0] & 0x70 or not rest[1] & 0x80:
            raise Invalid("a WebSocket frame with extensions, or without a mask")
        size, at = rest[1] & 0x7F, 2
        if size >= 126:
            more = 2 if size == 126 else 8
            if len(rest) < 2 + more:
                return None
            size, at = int.from_bytes(rest[2 : 2 + more], "big"), 2 + more
        if size > MESSAGE:
            raise Invalid(f"a WebSocket frame of {size} bytes: {MESSAGE} are taken")
        if len(rest) < at + 4 + size:
            return None
        mask, body = rest[at : at + 4], bytes(rest[at + 4 : at + 4 + size])
        final, kind = bool(rest[0] & 0x80), rest[0] & 0x0F
        del rest[: at + 4 + size]
        return final, kind, _unmasked(body, bytes(mask))


def _unmasked(body: bytes, mask: bytes) -> bytes:
    size = len(body)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(body, "big") ^ key).to_bytes(size, "big")
