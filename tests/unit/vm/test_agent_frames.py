"""The frames of an agent's port, without sockets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Corrupt, Invalid
from corten.vm import frames
from corten.vm.frames import CONTROL, LARGEST, PART, STDOUT, Decoder, Frame

DATA = st.tuples(st.sampled_from([frames.STDIN, STDOUT, frames.DNS]), st.integers(0, 2**32 - 1), st.binary(max_size=50))


@given(st.lists(DATA, max_size=5), st.dictionaries(st.text(), st.integers(), max_size=3), st.integers(1, 17))
def test_frames_survive_any_cut(data: list[tuple[int, int, bytes]], content: frames.Json, size: int) -> None:
    stream = b"".join(frames.frame(*one) for one in data) + frames.message(content)
    decoder, found = Decoder(frames.FROM_GUEST), []
    for at in range(0, len(stream), size):
        decoder.feed(stream[at : at + size])
        while frame := decoder.next():
            found.append(frame)
    assert found[:-1] == [Frame(*one) for one in data]
    assert found[-1].kind == CONTROL and frames.content(found[-1].body) == content


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_corrupt(data: bytes) -> None:
    decoder = Decoder(frames.FROM_GUEST)
    decoder.feed(data)
    try:
        while frame := decoder.next():
            if frame.kind == CONTROL:
                frames.content(frame.body)
    except Corrupt:
        pass


@pytest.mark.parametrize("size", [LARGEST - 9, LARGEST, LARGEST + 1, 3 * LARGEST + 5])
def test_a_large_object_is_sent_in_parts(size: int) -> None:
    content = {"env": "x" * size}
    decoder = Decoder(frames.FROM_HOST)
    decoder.feed(frames.message(content))
    frame = decoder.next()
    assert frame is not None and frames.content(frame.body) == content
    assert decoder.next() is None


def test_an_object_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(Invalid, match="too long for a guest"):
        frames.message({"env": "x" * 100}, 100)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (frames.frame(PART + 1, 0), "unknown kind"),
        (b"\2\0\0\0\0\xff\xff\xff\xff", "bytes is announced"),
        (frames.frame(PART, 0, b"x" * LARGEST) + frames.frame(CONTROL, 0, b"x"), "a message of more than"),
    ],
    ids=["kind", "length", "parts"],
)
def test_what_is_no_frame(data: bytes, words: str) -> None:
    decoder = Decoder(frames.FROM_GUEST)
    decoder.feed(data)
    with pytest.raises(Corrupt, match=words):
        decoder.next()


NO_OBJECTS = {
    "nothing": b"",
    "half": b"{",
    "list": b"[]",
    "number": b"7",
    "bytes": b"\xff",
    "deep": b"[" * 200_000,
    "deeper": b'{"a":' + b"[" * 100_000,
    "large": b'{"id":' + b"9" * 50_000 + b"}",
}


@pytest.mark.parametrize("name", NO_OBJECTS)
def test_what_is_no_object(name: str) -> None:
    with pytest.raises(Corrupt):
        frames.content(NO_OBJECTS[name])


@pytest.mark.parametrize("body", [b"", b"\2\0\0\0\0", b"\0\0\0\0\1", b"\2\xff\xff\xff\xff", b"\2\0\0\0\1\0"])
def test_what_is_no_credit(body: bytes) -> None:
    with pytest.raises(Corrupt):
        frames.credit_of(body)
