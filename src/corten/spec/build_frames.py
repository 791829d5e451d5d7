"""Frames of a build's connection (POST /build/stream, an addition of ours), without a socket. docs/builder.md has the
table; both sides use this.

    kind u8 | channel u32 | length u32 | payload          big-endian

The daemon opens a channel by CALL, whose payload is JSON; what is about it has its number. Channel 0 is the build's.
"""

from __future__ import annotations

import os
import struct

from corten.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NamedTuple

    class Entry(NamedTuple):
        """A file of a walk. `mode` is st_mode, `modified` nanoseconds since the epoch; `link` the target of a symbolic
        link, or the path of the same file that came before."""

        mode: int
        size: int
        modified: int
        path: str
        link: str


PROTOCOL = "corten-build"  # of the Upgrade header
MOST = 1 << 20  # bytes of a payload of a client's,
MOST_SAID = 64 << 20  # and of a daemon's: an error's event has the whole Dockerfile
BATCH = 1 << 16  # bytes of ENTRIES that are sent at once
PIECE = 1 << 18  # bytes of a file that are sent at once

EVENT, CALL, DATA, END, WANTED, ABSENT, ERROR, ENTRIES, PART, FILE, ATTRIBUTES, SIZE = range(1, 13)
_KINDS = range(EVENT, SIZE + 1)
_HEADER = struct.Struct(">BII")
_ENTRY = struct.Struct(">IQqHH")
_NUMBER = struct.Struct(">I")
_SIZE = struct.Struct(">HH")

Frame = tuple[int, int, bytes]  # kind, channel, payload


class Frames:
    """Bytes in, frames out. `most` is bytes of a payload."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._begun = bytearray()  # of a frame whose end has not come

    def feed(self, data: bytes) -> list[Frame]:
        """Raises Invalid for what is no frame."""
        found: list[Frame] = []
        at = self._go_on(data, found) if self._begun else 0
        while len(data) - at >= _HEADER.size:
            kind, channel, length = self._head(data, at)
            begin = at + _HEADER.size
            if begin + length > len(data):
                break
            at = begin + length
            found.append((kind, channel, data[begin:at]))
        self._begun += data[at:]
        return found

    def _go_on(self, data: bytes, found: list[Frame]) -> int:
        """The frame that has begun, where its end is in `data`; how much of that it takes."""
        begun = self._begun
        at = max(0, _HEADER.size - len(begun))
        begun += data[:at]
        if len(begun) < _HEADER.size:
            return at
        kind, channel, length = self._head(begun, 0)
        left = _HEADER.size + length - len(begun)
        begun += data[at : at + left]
        if at + left <= len(data):
            found.append((kind, channel, bytes(memoryview(begun)[_HEADER.size :])))
            self._begun = bytearray()
        return at + left

    def _head(self, data: bytes | bytearray, at: int) -> tuple[int, int, int]:
        kind, channel, length = _HEADER.unpack_from(data, at)
        if kind not in _KINDS or length > self._most:
            raise Invalid(f"a frame of the kind {kind} and of {length} bytes is none of a build's connection")
        return kind, channel, length


def head(kind: int, channel: int, length: int) -> bytes:
    """What is before a payload that is sent by itself."""
    return _HEADER.pack(kind, channel, length)


def frame(kind: int, channel: int, data: bytes = b"") -> bytes:
    return _HEADER.pack(kind, channel, len(data)) + data


# ------------------------------------------------------------------------------------------------------------ payloads


def entry(mode: int, size: int, modified: int, path: bytes, link: bytes = b"") -> bytes:
    """One of a walk, for ENTRIES."""
    return _ENTRY.pack(mode, size, modified, len(path), len(link)) + path + link


def entries(data: bytes) -> Iterator[Entry]:
    """Those of ENTRIES. Raises Invalid for one that is cut off."""
    at, end = 0, len(data)
    while at < end:
        path = at + _ENTRY.size
        if path > end:
            raise Invalid("the list of the context's files is cut off")
        mode, size, modified, length, linked = _ENTRY.unpack_from(data, at)
        link = path + length
        at = link + linked
        if at > end:
            raise Invalid("the list of the context's files is cut off")
        yield mode, size, modified, os.fsdecode(data[path:link]), os.fsdecode(data[link:at]) if linked else ""  # type: ignore[misc]


def wanted(numbers: Sequence[int]) -> bytes:
    """Of WANTED: entries of a walk, counted from 0."""
    return struct.pack(f">{len(numbers)}I", *numbers)


def numbers(data: bytes) -> tuple[int, ...]:
    """Raises Invalid."""
    if len(data) % _NUMBER.size:
        raise Invalid("the list of the files that are wanted is cut off")
    return struct.unpack(f">{len(data) // _NUMBER.size}I", data)


def numbered(number: int, data: bytes = b"") -> bytes:
    """Of PART, FILE and ATTRIBUTES."""
    return _NUMBER.pack(number) + data


def split(data: bytes) -> tuple[int, memoryview]:
    """The number of an entry, and what is behind it. Raises Invalid."""
    if len(data) < _NUMBER.size:
        raise Invalid("a piece of the context has no number")
    return _NUMBER.unpack_from(data)[0], memoryview(data)[_NUMBER.size :]


def attribute(name: bytes, value: bytes) -> bytes:
    """One of ATTRIBUTES."""
    return _SIZE.pack(len(name), len(value)) + name + value


def attributes(data: bytes) -> dict[str, bytes]:
    """Raises Invalid."""
    found, at = {}, 0
    while at < len(data):
        name = at + _SIZE.size
        if name > len(data):
            raise Invalid("the attributes of a file are cut off")
        lengths = _SIZE.unpack_from(data, at)
        value = name + lengths[0]
        at = value + lengths[1]
        if at > len(data):
            raise Invalid("the attributes of a file are cut off")
        found[os.fsdecode(data[name:value])] = data[value:at]
    return found


def size(rows: int, columns: int) -> bytes:
    """Of SIZE, a terminal's."""
    return _SIZE.pack(rows, columns)


def size_of(data: bytes) -> tuple[int, int]:
    """Rows and columns. Raises Invalid."""
    if len(data) != _SIZE.size:
        raise Invalid("the size of a terminal is two numbers")
    rows, columns = _SIZE.unpack(data)
    return rows, columns
