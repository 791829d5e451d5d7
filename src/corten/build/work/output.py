"""What a step's process writes, as it arrives from its supervisor: frames of Docker's (an 8-byte header: stream, three
zeros, length big-endian), line by line."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

_HEADER = struct.Struct(">BxxxI")
_PIECE = 1 << 16
_LONGEST = 1 << 14  # bytes of a line that are kept back until it ends
_LAST = 10.0  # seconds for what is still on its way when the process has ended

Write = Callable[[int, bytes], None]


class Lines:
    """Bytes of the connection in, whole lines of each stream out; `end` gives what has no line's end."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._buffer = bytearray()
        self._lines: dict[int, bytes] = {}

    def feed(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _HEADER.size:
            stream, length = _HEADER.unpack_from(self._buffer, at)
            end = at + _HEADER.size + length
            if len(self._buffer) < end:
                break
            self._add(stream, bytes(self._buffer[at + _HEADER.size : end]))
            at = end
        del self._buffer[:at]

    def _add(self, stream: int, data: bytes) -> None:
        data = self._lines.pop(stream, b"") + data
        end = data.rfind(b"\n") + 1 if len(data) < _LONGEST else len(data)
        if data[end:]:
            self._lines[stream] = data[end:]
        if end:
            self._write(stream, data[:end])

    def end(self) -> None:
        for stream, data in sorted(self._lines.items()):
            self._write(stream, data)
        self._lines.clear()


class Output:
    """The connection; `give` is for the supervisor. To be closed."""

    def __init__(self, write: Write) -> None:
        self._ours, theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs = theirs
        self._lines = Lines(write)
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._loop.add_reader(self._ours.fileno(), self._read)

    def give(self) -> int:
        """The other end, the receiver's to close."""
        return self._theirs.detach()

    def _read(self) -> None:
        try:
            data = self._ours.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._lines.feed(data)
            return
        self._loop.remove_reader(self._ours.fileno())
        if not self._ended.done():
            self._ended.set_result(None)

    async def drained(self) -> None:
        """All has been written, once the process has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST):
                await asyncio.shield(self._ended)
        self._lines.end()

    def close(self) -> None:
        self._theirs.close()
        self._loop.remove_reader(self._ours.fileno())
        self._ours.close()
        self._ended.cancel()
