"""Where the bytes of regular files are. `Copied` has them in the image; another `Contents` may say that they lie on a
device beside it, as in a tar that is kept."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple, Protocol

from corten.errors import Failed
from corten.layers import holes
from corten.layers.erofs.space import Space
from corten.layers.erofs.structures import BLOCK, BLOCK_BITS
from corten.layers.limits import quoted

_SMALL = 128 << 10  # bytes: up to here a file is read, and larger ones are copied by the kernel
_CHUNKS = 1 << 16  # of one file, as far as chunks can be large enough
_LARGEST_CHUNK = 31  # as a power of two, in blocks
_HOLE = b"\xff\xff\xff\xff"


class Flat(NamedTuple):
    """All of it from block `block` on, but for `tail`, the last bytes, when that is not empty."""

    block: int
    tail: bytes


class Chunks(NamedTuple):
    """In pieces of 2 ** `bits` blocks, each from the block in `table` on (four bytes each); a hole's is 0xFFFFFFFF."""

    bits: int
    table: bytes


Place = Flat | Chunks
EMPTY = Flat(0, b"")


class Contents(Protocol):
    def place(self, fd: int, size: int, whole: bool, room: int, name: bytes) -> Place:
        """Where the file `fd` of `size` bytes is; `whole`: it has no holes. A tail is shorter than a block, and has
        `room` bytes at most."""


class Copied:
    """The data of files becomes part of the image. A hole stays one."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def place(self, fd: int, size: int, whole: bool, room: int, name: bytes) -> Place:
        """Raises Failed for a file that becomes shorter meanwhile."""
        if not size:
            return EMPTY
        if not whole:
            parts = holes.data(fd, size)
            first = next(parts, None)
            if first != (0, size):
                return self._chunks(fd, size, parts if first is None else chain((first,), parts), name)
        tail = size % BLOCK
        if tail > room:
            tail = 0
        return self._small(fd, size, tail, name) if size <= _SMALL else self._large(fd, size, tail, name)

    def _small(self, fd: int, size: int, tail: int, name: bytes) -> Flat:
        view = self._space.room(-(-size // BLOCK) * BLOCK)
        done = 0
        while done < size:
            got = os.preadv(fd, [view[done:size]], done)
            if not got:
                raise _shorter(name)
            done += got
        inline = bytes(view[size - tail : size])
        return Flat(self._space.hold(size - tail) // BLOCK if size > tail else 0, inline)

    def _large(self, fd: int, size: int, tail: int, name: bytes) -> Flat:
        at = self._space.blocks(size - tail)
        self._copy(fd, 0, size - tail, at, name)
        inline = os.pread(fd, tail, size - tail)
        if len(inline) != tail:
            raise _shorter(name)
        return Flat(at // BLOCK, inline)

    def _copy(self, fd: int, offset: int, size: int, at: int, name: bytes) -> None:
        if self._space.copy(fd, offset, size, at) != size:
            raise _shorter(name)

    def _chunks(self, fd: int, size: int, parts: Iterable[tuple[int, int]], name: bytes) -> Chunks:
        """What no part reaches is a hole, and so is, in the image's file, the rest of a chunk."""
        bits = min(max(0, (-(-size // _CHUNKS) - 1).bit_length() - BLOCK_BITS), _LARGEST_CHUNK)
        chunk = BLOCK << bits
        table = bytearray(_HOLE * -(-size // chunk))
        given = at = 0  # chunks up to here have a place; where offset 0 would be, by the place of the last ones
        for offset, length in parts:
            end = -(-(offset + length) // chunk)
            new = max(offset // chunk, given)
            if new < end:
                at = self._space.blocks(min(end * chunk, size) - new * chunk) - new * chunk
                for number in range(new, end):
                    struct.pack_into("<I", table, 4 * number, (at + number * chunk) // BLOCK)
                given = end
            self._copy(fd, offset, length, at + offset, name)
        return Chunks(bits, bytes(table))


def _shorter(name: bytes) -> Failed:
    return Failed(f"{quoted(name)} became shorter while it was read")
