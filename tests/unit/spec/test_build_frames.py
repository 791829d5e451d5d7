"""Frames of a build's connection: whatever is sent arrives, in pieces of any size; what is none is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Invalid
from corten.spec import build_frames as f

KINDS = st.integers(f.EVENT, f.SIZE)
NUMBERS = st.integers(0, 2**32 - 1)
FRAMES = st.lists(st.tuples(KINDS, NUMBERS, st.binary(max_size=300)))
NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name)
ENTRIES = st.lists(st.tuples(NUMBERS, st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1), NAMES, NAMES))


@given(FRAMES, st.integers(1, 64))
def test_frames_arrive_whatever_the_pieces(frames: list[f.Frame], size: int) -> None:
    data = b"".join(f.frame(*each) for each in frames)
    codec, found = f.Frames(), list[f.Frame]()
    for at in range(0, len(data), size):
        found += codec.feed(data[at : at + size])
    assert found == frames


def test_a_large_frame_arrives_in_small_pieces_and_others_behind_it() -> None:
    large, behind = (f.PART, 1, bytes(range(256)) * 400), [(f.END, 1, b""), (f.DATA, 2, b"x")]
    data = b"".join(f.frame(*each) for each in [large, *behind])
    for size in (1, 7, 4096, len(data) - 15, len(data) - 1, len(data)):
        codec, found = f.Frames(), list[f.Frame]()
        for at in range(0, len(data), size):
            found += codec.feed(data[at : at + size])
        assert found == [large, *behind]


@given(st.lists(st.binary(max_size=100)))
def test_no_bytes_are_more_than_refused(pieces: list[bytes]) -> None:
    codec = f.Frames()
    try:
        for piece in pieces:
            for kind, _, data in codec.feed(piece):
                assert f.EVENT <= kind <= f.SIZE and len(data) <= f.MOST
    except Invalid:
        pass


@pytest.mark.parametrize("head", [(0, 1, 0), (f.SIZE + 1, 1, 0), (f.DATA, 1, f.MOST + 1)])
def test_what_is_no_frame_is_refused_before_its_payload(head: tuple[int, int, int]) -> None:
    with pytest.raises(Invalid, match="is none of a build's connection"):
        f.Frames().feed(f.head(*head))


@given(ENTRIES)
def test_entries(entries: list[tuple[int, int, int, bytes, bytes]]) -> None:
    data = b"".join(f.entry(*entry) for entry in entries)
    found = [(mode, size, at, path.encode("utf-8", "surrogateescape"), link.encode("utf-8", "surrogateescape"))
             for mode, size, at, path, link in f.entries(data)]  # fmt: skip
    assert found == entries


@given(ENTRIES.filter(bool), st.integers(1, 23))
def test_entries_that_are_cut_off(entries: list[tuple[int, int, int, bytes, bytes]], count: int) -> None:
    data = b"".join(f.entry(*entry) for entry in entries)
    with pytest.raises(Invalid, match="cut off"):
        list(f.entries(data[:-count]))


@given(st.lists(NUMBERS, max_size=50))
def test_numbers(numbers: list[int]) -> None:
    assert list(f.numbers(f.wanted(numbers))) == numbers


@given(st.dictionaries(NAMES, st.binary(max_size=60), max_size=5))
def test_attributes(given: dict[bytes, bytes]) -> None:
    data = b"".join(f.attribute(name, value) for name, value in given.items())
    found = {name.encode("utf-8", "surrogateescape"): value for name, value in f.attributes(data).items()}
    assert found == given


@pytest.mark.parametrize(
    "read",
    [f.numbers, f.split, f.attributes, f.size_of, lambda data: list(f.entries(data))],
    ids=["numbers", "split", "attributes", "size", "entries"],
)
def test_payloads_that_are_cut_off(read: object) -> None:
    with pytest.raises(Invalid):
        read(b"\0\1\0")  # type: ignore[operator]


def test_a_piece_of_a_file_and_the_size_of_a_terminal() -> None:
    number, data = f.split(f.numbered(7, b"x"))
    assert (number, bytes(data)) == (7, b"x")
    assert f.size_of(f.size(24, 80)) == (24, 80)
