from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.client.errors import BadAnswer
from corten.client.stdcopy import Frames
from unit.cli.scripted import frame


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=6), st.integers(1, 30))
def test_streams_come_apart_however_the_bytes_are_cut(parts: list[tuple[int, bytes]], pieces: int) -> None:
    raw = b"".join(frame(kind, data) for kind, data in parts)
    frames = Frames()
    out = {1: b"", 2: b""}
    for at in range(0, len(raw), pieces):
        for kind, data in frames.feed(raw[at : at + pieces]):
            out[kind] += data
    assert out == {kind: b"".join(data for found, data in parts if found == kind) for kind in (1, 2)}


def test_the_beginning_of_a_huge_frame_is_handed_on_at_once() -> None:
    assert Frames().feed(b"\x01\0\0\0\xff\xff\xff\xffabc") == [(1, b"abc")]


@pytest.mark.parametrize("head", [b"\x09\0\0\0\0\0\0\x01", b"\x01\x01\0\0\0\0\0\x01", b"hello wo"])
def test_what_is_no_frame_is_refused(head: bytes) -> None:
    with pytest.raises(BadAnswer):
        Frames().feed(head)
