"""The frames in which output and error share one stream: [1 or 2][0 0 0][length, 4 bytes big-endian][bytes].

Used by attach, exec and logs of containers without a terminal; with one the stream is raw.
"""

from __future__ import annotations

from corten.client.errors import BadAnswer

STDIN, STDOUT, STDERR, SYSTEM_ERROR = 0, 1, 2, 3
HEADER = 8


class Frames:
    """Bytes in, (stream, bytes) out. A frame is handed on as it comes: one of a gigabyte is never held whole."""

    __slots__ = ("_head", "_left", "_stream")

    def __init__(self) -> None:
        self._head = b""
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """What `data` completes or continues. BadAnswer when a header is none."""
        out = []
        at = 0
        while at < len(data):
            if self._left == 0:
                need = HEADER - len(self._head)
                self._head += data[at : at + need]
                at += need
                if len(self._head) == HEADER:
                    self._open()
                continue
            part = data[at : at + self._left]
            at += len(part)
            self._left -= len(part)
            out.append((self._stream, part))
        return out

    def _open(self) -> None:
        if self._head[0] > SYSTEM_ERROR or self._head[1:4] != b"\0\0\0":
            raise BadAnswer(f"unrecognized stream frame {self._head.hex()}")
        self._stream = self._head[0] or STDOUT
        self._left = int.from_bytes(self._head[4:8], "big")
        self._head = b""
