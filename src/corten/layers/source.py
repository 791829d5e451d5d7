"""Reading a tar stream: a buffer for headers and small files, and for large ones splice(2) from a pipe."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from corten.errors import Invalid

_SIZE = 256 * 1024
_SPLICE = 1 << 20


class Source:
    """`exactly` gives bytes, `copy` moves them into a file, `skip` drops them. They raise Invalid when the stream ends
    early.

    `origin` is a descriptor, or a function that fills a buffer and says how far (0 at the end).
    """

    def __init__(self, origin: int | Callable[[memoryview], int]) -> None:
        self._fd = origin if isinstance(origin, int) else -1
        self._read = (lambda view: os.readv(origin, [view])) if isinstance(origin, int) else origin
        self._buffer = bytearray(_SIZE)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._can_splice = self._fd >= 0
        self.offset = 0  # bytes handed out so far

    def _fill(self) -> int:
        """Read more behind what is buffered; returns how much came, 0 at the end."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == _SIZE:
            kept = self._end - self._start
            self._view[:kept] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, kept
        got = self._read(self._view[self._end :])
        self._end += got
        return got

    def exactly(self, count: int) -> bytes:
        """`count` bytes, to be kept small by the caller."""
        if count > _SIZE:
            half = _SIZE // 2
            return b"".join(self.exactly(min(half, count - at)) for at in range(0, count, half))
        while self._end - self._start < count:
            if not self._fill():
                raise Invalid("tar stream is truncated")
        start = self._start
        self._start += count
        self.offset += count
        return bytes(self._view[start : self._start])

    def block(self) -> bytes | None:
        """The next 512 bytes, or None when the stream ends right here."""
        while self._end - self._start < 512:
            if not self._fill():
                if self._end == self._start:
                    return None
                raise Invalid("tar stream is truncated")
        start = self._start
        self._start += 512
        self.offset += 512
        return bytes(self._view[start : self._start])

    def copy(self, target: int, count: int, taken: Callable[[memoryview], object] | None = None) -> None:
        """Write the next `count` bytes at `target`'s file position. `taken` gets what was written, in its pieces."""
        self.offset += count
        while count:
            ready = min(self._end - self._start, count)
            if ready:
                done = os.write(target, self._view[self._start : self._start + ready])
                if taken is not None:
                    taken(self._view[self._start : self._start + done])
                self._start += done
                count -= done
            elif count >= _SIZE and self._can_splice and taken is None:
                count -= self._splice(target, count)
            elif not self._fill():
                raise Invalid("tar stream is truncated")

    def _splice(self, target: int, count: int) -> int:
        try:
            done = os.splice(self._fd, target, min(count, _SPLICE))
        except OSError as error:
            if error.errno != errno.EINVAL:  # the source is no pipe
                raise
            self._can_splice = False
            return 0
        if not done:
            raise Invalid("tar stream is truncated")
        return done

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes, piece by piece; each is good until the next one."""
        while count:
            ready = min(self._end - self._start, count)
            if ready:
                start = self._start
                self._start += ready
                self.offset += ready
                count -= ready
                yield self._view[start : start + ready]
            elif not self._fill():
                raise Invalid("tar stream is truncated")

    def skip(self, count: int) -> None:
        self.offset += count
        while count:
            ready = min(self._end - self._start, count)
            self._start += ready
            count -= ready
            if count and not ready and not self._fill():
                raise Invalid("tar stream is truncated")

    def drain(self) -> None:
        """Read to the end, so that the writer of a pipe does not meet a closed one."""
        while self._end > self._start or self._fill():
            self.offset += self._end - self._start
            self._start = self._end
