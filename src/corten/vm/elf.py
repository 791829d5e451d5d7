"""What a program needs of other files, read from its ELF file (elf(5)): 64 bits, little-endian."""

from __future__ import annotations

import struct

from corten.errors import Corrupt

_HEAD = struct.Struct("<4sBB10xHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ENTRY = struct.Struct("<qQ")
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS = 1, 5


def needs(data: bytes) -> tuple[str, list[str]]:
    """(path of the interpreter of programs or "", names of libraries). Corrupt for what is no such file."""
    try:
        return _needs(data)
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise Corrupt(f"no ELF file of 64 bits: {error}") from error


def _needs(data: bytes) -> tuple[str, list[str]]:
    magic, bits, order, *_ = head = _HEAD.unpack_from(data)
    if (magic, bits, order) != (b"\x7fELF", 2, 1):
        raise ValueError("its head is another one")
    offset, count = head[7], head[12]
    segments = [_SEGMENT.unpack_from(data, offset + _SEGMENT.size * number) for number in range(count)]
    loaded = [(address, at, size) for kind, _, at, address, _, size, _, _ in segments if kind == _LOAD]
    interpreter, entries = "", []
    for kind, _, at, _, _, size, _, _ in segments:
        if kind == _INTERPRETER:
            interpreter = _text(data, at)
        elif kind == _DYNAMIC:
            entries = [_ENTRY.unpack_from(data, at + place) for place in range(0, size, _ENTRY.size)]
    strings = next((value for tag, value in entries if tag == _STRINGS), 0)
    start = next((strings - address + at for address, at, size in loaded if address <= strings < address + size), 0)
    return interpreter, [_text(data, start + value) for tag, value in entries if tag == _NEEDED]


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("ascii")
