"""Pages of zeros, left out of a migration stream."""

from __future__ import annotations

import os
import struct

import pytest

from corten.vm.stream import without_zeros

NAME = b"\x16" + b"0000:00:0a.3:00.0/more"
ZERO, PAGE, CONTINUES = 0x02, 0x08, 0x20
NEXT = struct.pack(">QBIBI", 0x10, 0x7E, 2, 2, 2)
HEAD = b"QEVM" + NAME + struct.pack(">Q", 832 << 20) + b"more"
TAIL = struct.pack(">QBI", 0x10, 0x7E, 2) + b"\x04devices" + NAME


def page(number: int, content: bytes = b"\0", first: bool = False) -> bytes:
    kind = (ZERO if len(content) == 1 else PAGE) | (0 if first else CONTINUES)
    return struct.pack(">Q", number << 12 | kind) + (NAME if first else b"") + content


DATA = os.urandom(4095) + b"\0"


@pytest.mark.parametrize("first", [b"\0", DATA])
def test_what_is_left(first: bytes) -> None:
    """The first page, which has the name, those with content, and one that is filled with something else."""
    begin = HEAD + page(0, first, first=True)
    some = b"".join(page(n) for n in range(1, 500))
    rest = page(501, DATA) + NEXT + page(600, b"\1")
    assert without_zeros(begin + some + rest + page(601) + page(602, DATA) + TAIL, b"/more") == (
        begin + rest + page(602, DATA) + TAIL
    )


def test_pages_of_others_stay() -> None:
    other = struct.pack(">Q", ZERO) + b"\x07pc.bios\0" + page(1) + page(2)
    stream = HEAD + page(0, first=True) + page(1) + other + TAIL
    assert without_zeros(stream, b"/more") == HEAD + page(0, first=True) + other + TAIL


@pytest.mark.parametrize(
    "stream", [b"", b"/more", HEAD, HEAD + TAIL, HEAD + page(0, first=True)[:-1], HEAD + page(0, DATA, True)[:-9]]
)
def test_what_is_not_understood_stays(stream: bytes) -> None:
    assert without_zeros(stream, b"/more") == stream


def test_what_is_cut_short_stays() -> None:
    whole = HEAD + page(0, first=True) + page(1, DATA)
    for missing in range(1, 4104):
        assert without_zeros(whole[:-missing], b"/more") == whole[:-missing]
