"""Datagrams in frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.spec import udp
from corten.spec.udp import Datagram

ONE = Datagram(b"\2\x42\0\0\0\1", b"\2\x42\0\0\0\2", bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)), 999, 53, b"content")


def test_there_and_back() -> None:
    frame = udp.made(ONE)
    assert udp.parse(frame) == ONE
    assert udp.parse(frame + bytes(20)) == ONE, "filled up"
    assert sum(int.from_bytes(frame[at : at + 2], "big") for at in range(14, 34, 2)) % 0xFFFF == 0, "RFC 1071"


@pytest.mark.parametrize(
    "changes",
    [
        {12: 0x86},
        {14: 0x65},
        {14: 0x44},
        {20: 0x20},
        {21: 1},
        {23: 6},
        {38: 0xFF},
        {39: 7},
    ],
)
def test_what_is_none(changes: dict[int, int]) -> None:
    frame = bytearray(udp.made(ONE))
    for at, value in changes.items():
        frame[at] = value
    assert udp.parse(bytes(frame)) is None


@given(st.binary(max_size=80))
def test_anything(frame: bytes) -> None:
    udp.parse(frame)
    udp.parse(b"\0" * 12 + b"\x08\0\x45" + frame)
