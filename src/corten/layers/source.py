"""Reading a tar stream from a descriptor: a buffer for headers and small files, splice(2) for large ones."""

from __future__ import annotations

import errno
import os

from corten.errors import Corrupt

_SIZE = 256 * 1024
_SPLICE = 1 << 20


class Source:
    """`exactly` gives bytes, `copy` moves them into a file, `skip` drops them. Corrupt when the stream ends early."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray(_SIZE)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._can_splice = True
        self.offset = 0  # bytes handed out so far

    def _fill(self) -> int:
        """Read more behind what is buffered; returns how much came, 0 at the end."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == _SIZE:
            kept = self._end - self._start
            self._view[:kept] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, kept
        got = os.readv(self._fd, [self._view[self._end :]])
        self._end += got
        return got

    def exactly(self, count: int) -> bytes:
        """`count` bytes, to be kept small by the caller."""
        if count > _SIZE:
            half = _SIZE // 2
            return b"".join(self.exactly(min(half, count - at)) for at in range(0, count, half))
        while self._end - self._start < count:
            if not self._fill():
                raise Corrupt("tar stream is truncated")
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
                raise Corrupt("tar stream is truncated")
        start = self._start
        self._start += 512
        self.offset += 512
        return bytes(self._view[start : self._start])

    def copy(self, target: int, count: int) -> None:
        """Write the next `count` bytes at `target`'s file position."""
        self.offset += count
        while count:
            ready = min(self._end - self._start, count)
            if ready:
                done = os.write(target, self._view[self._start : self._start + ready])
                self._start += done
                count -= done
            elif count >= _SIZE and self._can_splice:
                count -= self._splice(target, count)
            elif not self._fill():
                raise Corrupt("tar stream is truncated")

    def _splice(self, target: int, count: int) -> int:
        try:
            done = os.splice(self._fd, target, min(count, _SPLICE))
        except OSError as error:
            if error.errno != errno.EINVAL:  # the source is no pipe
                raise
            self._can_splice = False
            return 0
        if not done:
            raise Corrupt("tar stream is truncated")
        return done

    def skip(self, count: int) -> None:
        self.offset += count
        while count:
            ready = min(self._end - self._start, count)
            self._start += ready
            count -= ready
            if count and not ready and not self._fill():
                raise Corrupt("tar stream is truncated")

    def drain(self) -> None:
        """Read to the end, so that the writer of a pipe does not meet a closed one."""
        while self._end > self._start or self._fill():
            self.offset += self._end - self._start
            self._start = self._end
