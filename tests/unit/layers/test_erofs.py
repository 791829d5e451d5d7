"""The bytes of EROFS, as far as they need no kernel."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.layers.erofs.attributes import Attributes
from corten.layers.erofs.names import Names
from corten.layers.erofs.space import Space
from corten.layers.erofs.structures import (
    BLOCK,
    COMPACT,
    EXTENDED,
    Inode,
    Superblock,
    crc32c,
    device,
    first_block,
    inode,
    is_compact,
    read_superblock,
)

SUPERBLOCK = Superblock(128, 7, 9, -1_500_000_001, b"0123456789abcdef", b"corten", True)


def test_the_checksum_is_castagnoli_s() -> None:
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283  # RFC 3720, B.4 has others


def test_a_superblock_is_read_back() -> None:
    block = first_block(SUPERBLOCK)
    assert len(block) == BLOCK and block[1024:1028] == b"\xe2\xe1\xf5\xe0"
    assert read_superblock(block) == SUPERBLOCK


@pytest.mark.parametrize("at", [0, 1024, 1028, 1060, 1100, 1151, 1152, 4095])
def test_a_damaged_superblock_is_none(at: int) -> None:
    block = bytearray(first_block(SUPERBLOCK))
    block[at] ^= 1
    assert read_superblock(bytes(block)) is None


@pytest.mark.parametrize("block", [b"", b"x", bytes(BLOCK), first_block(SUPERBLOCK) + b"x"])
def test_what_is_no_superblock_is_none(block: bytes) -> None:
    assert read_superblock(block) is None


def test_inodes() -> None:
    found = Inode(0o100644, 1000, 1001, 5, 10**9 + 7, 1, 3, where=4, attributes=20)
    assert is_compact(found, 10**9 + 7) and not is_compact(found, 10**9)
    for large in ({"uid": 1 << 16}, {"gid": 1 << 16}, {"links": 1 << 16}, {"size": 1 << 32}):
        assert not is_compact(found._replace(**large), found.mtime)
    assert len(inode(found, True)) == COMPACT and len(inode(found, False)) == EXTENDED
    assert struct.unpack_from("<HHH", inode(found, False)) == (1, 3, 0o100644)
    assert struct.unpack_from("<qII", inode(found, False), 32) == (1, 7, 1)
    early = found._replace(mtime=-1)
    assert struct.unpack_from("<qI", inode(early, False), 32) == (-1, 999_999_999)


@pytest.mark.parametrize(("major", "minor", "expected"), [(0, 0, 0), (1, 3, 0x103), (8, 257, 0x100801)])
def test_devices(major: int, minor: int, expected: int) -> None:
    assert device((major & 0xFFF) << 8 | minor & 0xFF | (minor & ~0xFF) << 12) == expected


def test_attributes_that_differ_are_not_all_remembered(tmp_path: Path) -> None:
    """A tree can have a different one of 60 KB on each file: what is looked for in others is bounded."""
    with (tmp_path / "image").open("wb") as out:
        attributes = Attributes(Space(out.fileno()))
        tracemalloc.start()
        try:
            for number in range(20_000):
                assert len(attributes.area({b"user.own": b"%0100d" % number}, b"file")) == 12 + 108
            assert tracemalloc.get_traced_memory()[0] < 1_000_000
        finally:
            tracemalloc.stop()
        assert len(attributes.area({b"user.own": b"%0100d" % 5}, b"again")) == 12 + 4
        assert len(attributes.area({b"user.own": b"%0100d" % 15_000}, b"again")) == 12 + 108


NAMES = st.sets(st.binary(min_size=1, max_size=255).filter(lambda name: name not in (b".", b"..")), max_size=80)


@given(NAMES)
def test_names_of_a_directory(given_names: set[bytes]) -> None:
    names = Names(sorted(given_names))
    order = list[bytes]()
    while (name := names.next()) is not None:
        names.stand_for(1000 + len(order), 2 if len(order) % 3 == 0 else 1)
        order.append(name)
    assert order == sorted(given_names)
    blocks = list(names.encoded(7, 8))
    assert len(blocks) == names.blocks and len(blocks[-1]) == names.tail
    found = {}
    for block in blocks:
        assert 0 < len(block) <= BLOCK
        count = struct.unpack_from("<H", block, 8)[0] // 12
        entries = [struct.unpack_from("<QHB", block, 12 * number) for number in range(count)]
        ends = [at for _, at, _ in entries[1:]] + [len(block)]
        for (nid, at, kind), end in zip(entries, ends):
            found[block[at:end]] = (nid, kind)
    assert list(found) == sorted({*given_names, b".", b".."})
    assert found[b"."] == (7, 2) and found[b".."] == (8, 2)
    assert [found[name] for name in order] == [(1000 + n, 2 if n % 3 == 0 else 1) for n in range(len(order))]
    assert names.directories == 2 + -(-len(order) // 3)
