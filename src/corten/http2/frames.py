"""HTTP/2's frames as bytes (RFC 9113, section 4 and 6): cut out of a stream, and written. No state but a partial frame.

9 bytes   length (24 bits), type (8), flags (8), stream (31)
length    payload
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20

# Error codes (RFC 9113, section 7)
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 5, 6, 7, 8, 9
ENHANCE_YOUR_CALM = 11

# Settings (RFC 9113, section 6.5.2)
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)

_HEAD = struct.Struct(">HBBBI")  # the length's upper 16 bits and its lower 8
_SETTING = struct.Struct(">HI")
STREAM = 0x7FFFFFFF


class Http2Error(Exception):
    """The peer does not keep to the protocol. `code` is what the connection ends with."""

    def __init__(self, message: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.code = code


class Frame(NamedTuple):
    """`frames`: so many DATA frames of one stream, without flags, that came one behind the other are one with their
    data."""

    type: int
    flags: int
    stream: int
    payload: bytes
    frames: int = 1


class Cutter:
    """Bytes in, frames out. `limit` bounds a payload."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Raises Http2Error for a frame that is larger than it may be."""
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        try:
            while size - at >= 9:
                high, low, type, flags, stream = _HEAD.unpack_from(data, at)
                length = high << 8 | low
                if length > self._limit:
                    raise Http2Error(f"a frame of {length} bytes: {self._limit} are allowed", FRAME_SIZE_ERROR)
                end = at + 9 + length
                if end > size:
                    break
                if type or flags or not length:
                    frame = Frame(type, flags, stream & STREAM, data[at + 9 : end])
                    at = end
                else:
                    frame, at = self._run(data, at, end, stream)
                yield frame
        finally:
            self._rest = data[at:]

    def _run(self, data: bytes, at: int, end: int, stream: int) -> tuple[Frame, int]:
        """The DATA frame that is whole until `end`, with those behind it; and where the next frame begins."""
        size, view = len(data), memoryview(data)
        parts = [view[at + 9 : end]]
        while size - end >= 9:
            high, low, type, flags, other = _HEAD.unpack_from(data, end)
            length = high << 8 | low
            if type or flags or other != stream or not 0 < length <= self._limit or end + 9 + length > size:
                break
            parts.append(view[end + 9 : end + 9 + length])
            end += 9 + length
        return Frame(DATA, 0, stream & STREAM, b"".join(parts), len(parts)), end


def frame(type: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, type, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(key, value) for key, value in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    if len(payload) % 6:
        raise Http2Error(f"SETTINGS of {len(payload)} bytes", FRAME_SIZE_ERROR)
    return list(_SETTING.iter_unpack(payload))


def number(payload: bytes, what: str) -> int:
    """The 31 bits of a WINDOW_UPDATE, or the 32 of a RST_STREAM."""
    if len(payload) != 4:
        raise Http2Error(f"{what} of {len(payload)} bytes", FRAME_SIZE_ERROR)
    return int.from_bytes(payload, "big")


def unpadded(frame: Frame) -> bytes:
    """The payload of DATA or HEADERS without padding and priority."""
    payload, start, end = frame.payload, 0, len(frame.payload)
    if frame.flags & PADDED:
        if not payload:
            raise Http2Error("a padded frame without a length of its padding", FRAME_SIZE_ERROR)
        start, end = 1, end - payload[0]
    if frame.type == HEADERS and frame.flags & PRIORITISED:
        start += 5
    if start > end:
        raise Http2Error("padding that is longer than its frame")
    return payload[start:end] if start or end != len(payload) else payload
