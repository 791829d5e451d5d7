"""The frame codec, without sockets and with a pair."""

import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.supervisor import wire

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text().filter(lambda key: key != "fds"), JSON, max_size=5)


@given(st.lists(OBJECTS, max_size=5), st.integers(1, 17))
def test_objects_survive_any_cut(objects: list[wire.Object], size: int) -> None:
    stream = b"".join(wire.encode(message) for message in objects)
    decoder, found = wire.Decoder(), []
    for at in range(0, len(stream), size):
        decoder.feed(stream[at : at + size])
        while frame := decoder.next():
            found.append(frame[0])
    assert found == objects


def test_frames_until_the_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for number in range(3):
            wire.send(theirs, {"number": number}, [theirs.fileno()] * number)
        theirs.shutdown(socket.SHUT_WR)
        found = list(wire.frames(ours))
    for number, (message, fds) in enumerate(found):
        assert message["number"] == number and len(fds) == number
        for fd in fds:
            os.close(fd)
    assert len(found) == 3


BAD_COUNTS = [b"1e999", b"-1e999", b"NaN", b"-1", b"1.0", b"true", b'"0"', b"[]", b"1" * 5000]


@pytest.mark.parametrize(
    "body",
    [
        *(b"[]", b"{", b'"x"', b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b'{"fds": "two"}', b'{"fds": 1}'),
        *(b'{"fds": ' + count + b"}" for count in BAD_COUNTS),
    ],
    ids=lambda body: body[:20].decode(errors="replace"),
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    decoder = wire.Decoder()
    decoder.feed(struct.pack(">I", len(body)) + body)
    with pytest.raises(wire.ProtocolError):
        decoder.next()


def test_descriptors_that_no_frame_has_do_not_pile_up() -> None:
    decoder = wire.Decoder()
    ours, theirs = os.pipe()
    with open(ours, "rb", buffering=0) as reader:
        with pytest.raises(wire.ProtocolError, match="descriptors"):
            while True:
                decoder.feed(b"", [os.dup(theirs)])
        decoder.feed(b"", [theirs])
        decoder.close()
        assert reader.read() == b"", "no writer is left"


def test_a_length_is_checked_before_anything_is_kept_for_it() -> None:
    decoder = wire.Decoder()
    decoder.feed(struct.pack(">I", wire.MAX_FRAME + 1))
    with pytest.raises(wire.ProtocolError, match="limit"):
        decoder.next()
    with pytest.raises(wire.ProtocolError, match="limit"):
        wire.encode({"x": "y" * wire.MAX_FRAME})


def test_descriptors_arrive_with_their_object() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    with ours, theirs:
        wire.send(ours, {"do": "nothing"})
        wire.send(ours, {"do": "write", "text": "x" * 100_000}, [writer])
        os.close(writer)
        decoder = wire.Decoder()
        frames: list[tuple[wire.Object, list[int]]] = []
        while len(frames) < 2:
            assert wire.receive(theirs, decoder)
            while frame := decoder.next():
                frames.append(frame)
    assert frames[0] == ({"do": "nothing"}, [])
    (fd,) = frames[1][1]
    os.write(fd, b"through")
    os.close(fd)
    assert os.read(reader, 10) == b"through"
    os.close(reader)
