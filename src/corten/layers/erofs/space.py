"""Where in an image things lie. It grows at its end, by blocks of data and by segments: blocks for inodes and what
belongs to them, which so lie together. A place once given stays; what lies there may be written later."""

from __future__ import annotations

import os

from corten.errors import Exhausted
from corten.layers.erofs.structures import BLOCK, MOST_BLOCKS, SLOT

_SMALLEST, _LARGEST = 4 * BLOCK, 64 * BLOCK  # segments: the first, those of a large image
_BUFFER = 1 << 20


class Space:
    """Of the empty file `out`, the caller's. Positions are bytes from its beginning; block 0 is the superblock's."""

    def __init__(self, out: int) -> None:
        self._out = out
        self.end = BLOCK
        self._segment = bytearray()
        self._segment_at = self._free = BLOCK
        self._next_segment = _SMALLEST
        self._buffer = memoryview(bytearray(_BUFFER))  # of blocks that lie at the end
        self._held = 0

    def inode(self, size: int, together: bool) -> int:
        """A place for an inode and what is behind it; `together`: in one block, if that is possible at all."""
        at = -(-self._free // SLOT) * SLOT
        if together and at // BLOCK != (at + size - 1) // BLOCK:
            at = -(-at // BLOCK) * BLOCK
        if at + size > self._segment_at + len(self._segment):
            at = self._begin_segment(size)
        self._free = at + size
        return at

    def _begin_segment(self, size: int) -> int:
        self._write_segment()
        length = max(self._next_segment, -(-size // BLOCK) * BLOCK)
        self._next_segment = min(2 * self._next_segment, _LARGEST)
        self._segment_at = self.blocks(length)
        self._segment = bytearray(length)
        return self._segment_at

    def _write_segment(self) -> None:
        self._pwrite(self._segment, self._segment_at)

    def put(self, at: int, data: bytes) -> None:
        """Write at a place that `inode` or `blocks` gave."""
        begin = at - self._segment_at
        if begin >= 0 and begin + len(data) <= len(self._segment):
            self._segment[begin : begin + len(data)] = data
        else:
            self._pwrite(data, at)

    def blocks(self, size: int) -> int:
        """A place for so many bytes of data, in blocks of their own; zeros until something is written there."""
        self._flush()
        at = self.end
        self._grow(size)
        return at

    def _grow(self, size: int) -> None:
        self.end += -(-size // BLOCK) * BLOCK
        if self.end // BLOCK > MOST_BLOCKS:
            raise Exhausted("an EROFS image cannot be larger than 16 TiB")

    def room(self, size: int) -> memoryview:
        """Room for data that comes next, 1 MiB at most, to be filled and given to `hold`."""
        if self._held + size > _BUFFER:
            self._flush()
        return self._buffer[self._held : self._held + size]

    def hold(self, size: int) -> int:
        """Take the first `size` bytes of what `room` gave; their place."""
        at, padded = self.end, -(-size // BLOCK) * BLOCK
        if padded > size:
            self._buffer[self._held + size : self._held + padded] = bytes(padded - size)
        self._grow(size)
        self._held += padded
        return at

    def copy(self, source: int, offset: int, size: int, at: int) -> int:
        """Copy bytes of the file `source` to a place that `blocks` gave, inside the kernel. How many there were."""
        os.lseek(self._out, at, os.SEEK_SET)
        left = size
        while left and (done := os.sendfile(self._out, source, offset, left)):
            offset += done
            left -= done
        return size - left

    def _flush(self) -> None:
        if self._held:
            self._pwrite(self._buffer[: self._held], self.end - self._held)
            self._held = 0

    def _pwrite(self, data: bytes | bytearray | memoryview, at: int) -> None:
        view = memoryview(data)
        while view:
            done = os.pwrite(self._out, view, at)
            view, at = view[done:], at + done

    def close(self) -> int:
        """Write what is held, and cut off what is not used. The number of blocks."""
        self._flush()
        self._write_segment()
        if self._segment_at + len(self._segment) == self.end:
            self.end = -(-self._free // BLOCK) * BLOCK
        os.ftruncate(self._out, self.end)
        return self.end // BLOCK
