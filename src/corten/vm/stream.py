"""QEMU's migration stream, as far as this goes: pages of zeros of a block of memory are left out.

A page is a number of 64 bits, its offset and in the lowest twelve bits what it is (migration/ram.c, RAM_SAVE_FLAG_*),
and its content behind that; of a page of zeros a single zero. The first one of a block has the block's name in between,
all others have a flag that it is the block of the one before. So any but the first can be left out, where what reads
the stream has zeros there already: a machine that has just begun.
"""

from __future__ import annotations

import struct

_NUMBER = struct.Struct(">Q")
_ZERO, _PAGE, _CONTINUES = 0x02, 0x08, 0x20
_SIZE = 4096
_BETWEEN = struct.Struct(">QBIBI")  # the end of a part, its footer, and the head of the next one of the same section
_EOS, _FOOTER, _PARTS = 0x10, 0x7E, (0x02, 0x03)
_ZEROS = _NUMBER.size + 1  # bytes of a page of zeros


def without_zeros(stream: bytes, name: bytes) -> bytes:
    """The same stream without the pages of zeros of the block whose name ends so. What is not understood stays."""
    kept, at = bytearray(), 0
    while (found := stream.find(name, at)) >= 0:
        behind = found + len(name)
        start = _named(stream, behind, at)
        if start < 0:
            kept += stream[at:behind]
            at = behind
            continue
        last = behind + (1 if _flags(stream, start) == _ZERO else _SIZE)
        kept += stream[at:last]
        at = last
        while size := _follows(stream, at):
            if size != _ZEROS or stream[at + _NUMBER.size]:
                kept += stream[at : at + size]
            at += size
    return bytes(kept + stream[at:])


def _follows(stream: bytes, at: int) -> int:
    """How many bytes the next page of the same block has there, or what stands between two of them; 0 when there is
    none of these, or it is not whole."""
    flags = _flags(stream, at)
    size = {_ZERO | _CONTINUES: _ZEROS, _PAGE | _CONTINUES: _NUMBER.size + _SIZE}.get(flags, 0)
    if flags == _EOS and at + _BETWEEN.size <= len(stream):
        _, footer, ended, part, begins = _BETWEEN.unpack_from(stream, at)
        size = _BETWEEN.size if (footer, ended) == (_FOOTER, begins) and part in _PARTS else 0
    return size if at + size <= len(stream) else 0


def _named(stream: bytes, behind: int, least: int) -> int:
    """Where the page begins whose block's name ends at `behind`; -1 when none does."""
    for length in range(1, 256):  # of the name, which stands before it in a byte
        start = behind - length - 1 - _NUMBER.size
        if start < least:
            return -1
        if stream[behind - length - 1] == length and _flags(stream, start) in (_ZERO, _PAGE):
            return start
    return -1


def _flags(stream: bytes, at: int) -> int:
    """-1 at the end."""
    if at + _NUMBER.size > len(stream):
        return -1
    number: int = _NUMBER.unpack_from(stream, at)[0]
    return number & (_SIZE - 1)
