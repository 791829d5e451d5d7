"""The frames in which output and error share one stream: [1 or 2][0 0 0][length, 4 bytes big-endian][bytes].

Used by attach, exec and logs of containers without a terminal; with one the stream is raw.
"""

from __future__ import annotations

from _struct import Struct  # without `struct`, which is a module more at the start

from corten.client.errors import BadAnswer

STDIN, STDOUT, STDERR, SYSTEM_ERROR = 0, 1, 2, 3
HEADER = 8
_SMALL = 1 << 12  # bytes; what is larger is cheaper to write by itself than to copy
_HEADER = Struct(">B3sI")


class Frames:
    """Bytes in, (stream, bytes) out. A frame is handed on as it comes: one of a gigabyte is never held whole."""

    __slots__ = ("_head", "_left", "_stream")

    def __init__(self) -> None:
        self._head = b""
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes | memoryview) -> list[tuple[int, bytes | memoryview]]:
        """What `data` completes or continues; small neighbours of one stream are put together. A part may be a
        view of `data`. Raises BadAnswer for a bad header.
        """
        runs: list[tuple[int, list[memoryview]]] = []
        for stream, part in self._parts(memoryview(data)):
            if runs and runs[-1][0] == stream and len(part) < _SMALL:
                runs[-1][1].append(part)
            else:
                runs.append((stream, [part]))
        return [(stream, parts[0] if len(parts) == 1 else b"".join(parts)) for stream, parts in runs]

    def _parts(self, view: memoryview) -> list[tuple[int, memoryview]]:
        parts = []
        at, end = 0, len(view)
        if self._head:  # the last data ended in the middle of a header
            at = HEADER - len(self._head)
            self._head += view[:at]
            if len(self._head) < HEADER:
                return []
            self._stream, self._left = _opened(self._head, 0)
            self._head = b""
        while at < end:
            if self._left:
                part = view[at : at + self._left]
                parts.append((self._stream, part))
                self._left -= len(part)
                at += len(part)
            elif end - at < HEADER:
                self._head = bytes(view[at:])
                break
            else:
                self._stream, self._left = _opened(view, at)
                at += HEADER
        return parts


def _opened(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The stream and the length that a header says."""
    stream, zeros, length = _HEADER.unpack_from(data, at)
    if stream > SYSTEM_ERROR or zeros != b"\0\0\0":
        raise BadAnswer(f"unrecognized stream frame {bytes(data[at : at + HEADER]).hex()}")
    return stream or STDOUT, length
