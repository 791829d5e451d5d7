"""HTTP/2 connections without a socket: two of them talk, and what a hostile peer sends ends the connection."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.http2 import connection as c
from corten.http2 import frames as f
from corten.http2.connection import Connection, Data, Headers, Leaving, Reset, Room
from corten.http2.frames import Http2Error

HEAD = [(":method", "POST"), (":path", "/a.B/C"), (":scheme", "http")]


def pair() -> tuple[Connection, Connection]:
    client, server = Connection(client=True), Connection(client=False)
    assert list(server.receive(client.outgoing())) == [Room(0), Room(0)]
    assert list(client.receive(server.outgoing())) == [Room(0), Room(0)]
    assert list(server.receive(client.outgoing())) == []  # the acknowledgement of its settings
    return client, server


def server_after_settings() -> Connection:
    server = Connection(client=False)
    list(server.receive(f.PREFACE + f.settings({})))
    server.outgoing()
    return server


def block(*headers: tuple[str, str]) -> bytes:
    return bytes(hpack.Encoder().encode(headers or HEAD))


def ended_with(server: Connection, data: bytes) -> int:
    with pytest.raises(Http2Error) as raised:
        list(server.receive(data))
    assert server.outgoing().endswith(raised.value.code.to_bytes(4, "big"))  # its GOAWAY
    return raised.value.code


@given(st.lists(st.binary(max_size=40_000), max_size=4), st.integers(1, 50_000))
def test_what_is_sent_arrives_in_any_pieces(pieces: list[bytes], size: int) -> None:
    client, server = pair()
    stream = client.open(HEAD)
    for piece in pieces:
        client.send(stream, piece)
    client.send(stream, b"", end=True)
    out = client.outgoing()
    events = [event for at in range(0, len(out), size) for event in server.receive(out[at : at + size])]
    assert events[0] == Headers(stream, HEAD, False)
    data = [event for event in events[1:] if isinstance(event, Data)]
    assert b"".join(event.data for event in data) == b"".join(pieces)
    assert [event.end for event in data] == [False] * (len(data) - 1) + [True]


def test_data_that_comes_at_once_is_one_event_where_nothing_is_between() -> None:
    _, server = pair()
    for stream in (1, 3):
        list(server.receive(f.frame(f.HEADERS, f.END_HEADERS, stream, block())))
    padded = f.frame(f.DATA, f.PADDED, 1, b"\1d\0")
    data = [f.frame(f.DATA, 0, stream, piece) for stream, piece in ((1, b"a"), (1, b"b"), (3, b"c"), (1, b"e"))]
    ping, end = f.frame(f.PING, 0, 0, bytes(8)), f.frame(f.DATA, f.END_STREAM, 1, b"f")
    events = list(server.receive(b"".join((*data[:3], padded, data[3], ping, data[3], data[0], end, data[2][:9]))))
    assert events == [
        Data(1, b"ab", 2, False), Data(3, b"c", 1, False), Data(1, b"d", 3, False), Data(1, b"e", 1, False),
        Data(1, b"ea", 2, False), Data(1, b"f", 1, True),
    ]  # fmt: skip
    assert list(server.receive(data[2][9:])) == [Data(3, b"c", 1, False)]


def test_each_frame_of_several_is_bounded() -> None:
    plain = f.frame(f.DATA, 0, 1, b"a")
    for data, code in (
        (f.frame(f.DATA, 0, 1, bytes(c.FRAME + 1)), f.FRAME_SIZE_ERROR),
        (f.frame(f.DATA, 0, 1, bytes(c.FRAME)) * 64 + plain, f.FLOW_CONTROL_ERROR),
        (f.frame(f.DATA, 0, 1) * 11_000, f.ENHANCE_YOUR_CALM),
        (f.frame(f.DATA, 0, 3, b"a"), f.PROTOCOL_ERROR),
    ):
        _, server = pair()
        list(server.receive(f.frame(f.HEADERS, f.END_HEADERS, 1, block())))
        assert ended_with(server, plain + data) == code


def test_room_is_what_the_peer_has_allowed_and_comes_back_with_what_it_consumed() -> None:
    client, server = pair()
    stream = client.open(HEAD)
    assert client.room(stream) == 1 << 20
    client.send(stream, bytes(1 << 20))
    assert client.room(stream) == 0
    list(server.receive(client.outgoing()))
    assert list(client.receive(server.outgoing())) == []  # the stream's window was not consumed
    server.consumed(stream, 1 << 20)
    assert Room(stream) in list(client.receive(server.outgoing()))
    assert client.room(stream) == 1 << 20


def test_streams_that_were_reset_are_closed_on_both_sides_and_what_still_comes_is_no_error() -> None:
    client, server = pair()
    stream = client.open(HEAD)
    list(server.receive(client.outgoing()))
    server.reset(stream, f.CANCEL)
    client.send(stream, b"late")
    late = client.outgoing()
    assert list(client.receive(server.outgoing())) == [Reset(stream, f.CANCEL)]
    assert list(server.receive(late)) == []
    assert client.room(stream) == 0


def test_a_reset_without_an_error_behind_the_trailers_leaves_what_was_said() -> None:
    client, server = pair()
    stream = client.open(HEAD)
    list(server.receive(client.outgoing()))
    server.send_headers(stream, [(":status", "200")])
    server.send_headers(stream, [("grpc-status", "0")], end=True)
    server.reset(stream, f.NO_ERROR)
    events = list(client.receive(server.outgoing()))
    assert events[-2:] == [Headers(stream, [("grpc-status", "0")], True), Reset(stream, f.NO_ERROR)]


def test_pings_are_answered() -> None:
    server = server_after_settings()
    list(server.receive(f.frame(f.PING, 0, 0, b"12345678")))
    assert server.outgoing() == f.frame(f.PING, f.ACK, 0, b"12345678")


def test_more_streams_than_may_be_open_are_refused_one_by_one() -> None:
    server = server_after_settings()
    for number in range(c.STREAMS):
        list(server.receive(f.frame(f.HEADERS, f.END_HEADERS, 2 * number + 1, block())))
    over = 2 * c.STREAMS + 1
    assert list(server.receive(f.frame(f.HEADERS, f.END_HEADERS, over, block()))) == []
    assert server.outgoing() == f.frame(f.RST_STREAM, 0, over, f.REFUSED_STREAM.to_bytes(4, "big"))


FLOODS = {
    "pings": f.frame(f.PING, 0, 0, bytes(8)),
    "settings": f.settings({}),
    "priorities": f.frame(f.PRIORITY, 0, 1, bytes(5)),
    "unknown frames": f.frame(99, 0, 0, b""),
    "window updates": f.frame(f.WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
    "empty data": f.frame(f.DATA, 0, 1, b""),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end_the_connection(name: str) -> None:
    server = server_after_settings()
    list(server.receive(f.frame(f.HEADERS, f.END_HEADERS, 1, block())))
    assert ended_with(server, FLOODS[name] * 11_000) == f.ENHANCE_YOUR_CALM


def test_streams_that_are_opened_and_reset_end_the_connection() -> None:
    server = server_after_settings()
    cancel = f.CANCEL.to_bytes(4, "big")
    flood = b"".join(
        f.frame(f.HEADERS, f.END_HEADERS, number, block()) + f.frame(f.RST_STREAM, 0, number, cancel)
        for number in range(1, 1200, 2)
    )
    assert ended_with(server, flood) == f.ENHANCE_YOUR_CALM


def test_header_blocks_are_bounded_in_bytes_and_in_what_they_mean() -> None:
    piece = f.frame(f.CONTINUATION, 0, 1, bytes(c.FRAME))
    assert ended_with(server_after_settings(), f.frame(f.HEADERS, 0, 1, b"") + piece * 9) == f.ENHANCE_YOUR_CALM
    encoder = hpack.Encoder()
    large = encoder.encode([("a", "x" * 3000)])  # which is a byte from then on
    many = f.frame(f.HEADERS, f.END_HEADERS, 1, bytes(large) + bytes(encoder.encode([("a", "x" * 3000)])) * 2000)
    assert ended_with(server_after_settings(), many) == f.ENHANCE_YOUR_CALM
    small = f.frame(f.HEADERS, f.END_HEADERS, 1, b"\x82" * 300)  # ":method: GET", a byte each
    assert ended_with(server_after_settings(), small) == f.ENHANCE_YOUR_CALM


def test_the_last_of_many_windows_in_one_frame_counts() -> None:
    server = server_after_settings()
    list(server.receive(f.frame(f.HEADERS, f.END_HEADERS, 1, block())))
    values = b"".join((f.INITIAL_WINDOW_SIZE << 32 | size).to_bytes(6, "big") for size in (f.STREAM, 0, 7))
    list(server.receive(f.frame(f.SETTINGS, 0, 0, values)))
    assert server.room(1) == 7


WRONG = {
    "a frame that is too large": (b"\xff\xff\xff" + bytes(6), f.FRAME_SIZE_ERROR),
    "data of no stream": (f.frame(f.DATA, 0, 1, b"x"), f.PROTOCOL_ERROR),
    "data of the connection": (f.frame(f.DATA, 0, 0, b"x"), f.PROTOCOL_ERROR),
    "headers of an even stream": (f.frame(f.HEADERS, f.END_HEADERS, 2, block()), f.PROTOCOL_ERROR),
    "a block that is broken off": (f.frame(f.HEADERS, 0, 1, block()) + FLOODS["pings"], f.PROTOCOL_ERROR),
    "a continuation of nothing": (f.frame(f.CONTINUATION, 0, 1, b""), f.PROTOCOL_ERROR),
    "a block that is none": (f.frame(f.HEADERS, f.END_HEADERS, 1, b"\xff\xff\xff\xff"), f.COMPRESSION_ERROR),
    "padding beyond the frame": (f.frame(f.HEADERS, f.END_HEADERS | f.PADDED, 1, b"\x09ab"), f.PROTOCOL_ERROR),
    "a promise": (f.frame(f.PUSH_PROMISE, 0, 1, bytes(4)), f.PROTOCOL_ERROR),
    "a window of nothing": (f.frame(f.WINDOW_UPDATE, 0, 0, bytes(4)), f.PROTOCOL_ERROR),
    "a window above all": (f.frame(f.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), f.FLOW_CONTROL_ERROR),
    "settings of five bytes": (f.frame(f.SETTINGS, 0, 0, bytes(5)), f.FRAME_SIZE_ERROR),
    "a first window above all": (f.settings({f.INITIAL_WINDOW_SIZE: 1 << 31}), f.FLOW_CONTROL_ERROR),
    "a short ping": (f.frame(f.PING, 0, 0, b"x"), f.FRAME_SIZE_ERROR),
    "a short goodbye": (f.frame(f.GOAWAY, 0, 0, b"x"), f.FRAME_SIZE_ERROR),
    "headers behind the end": (
        f.frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, block()) + f.frame(f.HEADERS, f.END_HEADERS, 1, block()),
        f.STREAM_CLOSED,
    ),
    "headers behind headers": (f.frame(f.HEADERS, f.END_HEADERS, 1, block()) * 2, f.PROTOCOL_ERROR),
    "more than the window": (
        f.frame(f.HEADERS, f.END_HEADERS, 1, block()) + f.frame(f.DATA, 0, 1, bytes(c.FRAME)) * 65,
        f.FLOW_CONTROL_ERROR,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_protocol_forbids_ends_the_connection(name: str) -> None:
    data, code = WRONG[name]
    assert ended_with(server_after_settings(), data) == code


def test_a_peer_that_does_not_speak_http2_gets_an_error_at_once() -> None:
    assert ended_with(Connection(client=False), b"GET / HTTP/1.1\r\n") == f.PROTOCOL_ERROR
    assert ended_with(Connection(client=False), f.PREFACE + FLOODS["pings"]) == f.PROTOCOL_ERROR


def test_a_goodbye_is_an_event() -> None:
    client, server = pair()
    server.leave()
    assert list(client.receive(server.outgoing())) == [Leaving(0, f.NO_ERROR)]


@given(st.binary(max_size=2000))
def test_any_bytes_are_events_or_one_error(data: bytes) -> None:
    server = server_after_settings()
    try:
        list(server.receive(data))
    except Http2Error:
        assert server.outgoing()


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 7), st.binary(max_size=40))))
def test_any_frames_are_events_or_one_error(frames: list[tuple[int, int, int, bytes]]) -> None:
    for connection in (server_after_settings(), pair()[0]):
        if connection.room(1) == 0 and not connection.is_open(1):
            try:
                list(connection.receive(b"".join(f.frame(*each) for each in frames)))
            except Http2Error:
                assert connection.outgoing()
