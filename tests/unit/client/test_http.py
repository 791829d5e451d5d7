from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.client import http
from corten.client.errors import BadAnswer


def read(raw: bytes, method: str = "GET", pieces: int = 1) -> tuple[http.Head, bytes, bool]:
    """Feed `raw` in pieces of a size, as a slow network would."""
    buffer = memoryview(b"")
    head = body = None
    out = b""
    for at in range(0, len(raw), pieces):
        buffer = memoryview(bytes(buffer) + raw[at : at + pieces])
        if head is None and (found := http.parse_head(bytes(buffer))) is not None:
            head, length = found
            buffer = buffer[length:]
            body = http.Body(head, method)
        while body is not None:
            piece, buffer = body.feed(buffer)
            out += piece
            if not piece:
                break
    assert head is not None and body is not None
    return head, out, body.done


def test_a_head_is_status_reason_and_lower_case_headers() -> None:
    head, _, _ = read(b"HTTP/1.1 404 Not Found\r\nContent-Type:  text/x \r\nContent-Length: 0\r\n\r\n")
    assert (head.status, head.reason, head.headers["content-type"]) == (404, "Not Found", "text/x")


@pytest.mark.parametrize(
    "raw",
    [
        b"SMTP hello",
        b"\n\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/2 200",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 \xb2\xb2\xb2\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_as_soon_as_it_can_be_seen(raw: bytes) -> None:
    with pytest.raises(BadAnswer, match="not an HTTP answer"):
        http.parse_head(raw)


def test_tls_is_recognized() -> None:
    with pytest.raises(BadAnswer, match="speaks TLS"):
        http.parse_head(b"\x15\x03\x01\x00\x02\x02\x16")


def test_a_head_without_end_is_refused_in_time() -> None:
    with pytest.raises(BadAnswer, match="no end"):
        http.parse_head(b"HTTP/1.1 200 OK\r\n" + b"x" * http.MAX_HEAD)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.integers(1, 50))
def test_chunked_bodies_come_out_whole_however_they_are_cut(parts: list[bytes], pieces: int) -> None:
    chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts)
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nTrailer: x\r\n\r\n"
    _, body, done = read(raw, pieces=pieces)
    assert (body, done) == (b"".join(parts), True)


@given(st.binary(max_size=60), st.integers(1, 30))
def test_a_length_ends_the_body(data: bytes, pieces: int) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data)
    assert read(raw + data, pieces=pieces)[1:] == (data, True)


def test_without_framing_the_body_lasts_until_the_end() -> None:
    assert read(b"HTTP/1.1 200 OK\r\n\r\nabc")[1:] == (b"abc", False)


@pytest.mark.parametrize(("status", "method"), [(204, "POST"), (304, "POST"), (200, "HEAD")])
def test_some_answers_have_no_body(status: int, method: str) -> None:
    head = http.Head(status, "", {"content-length": "10"})
    assert http.Body(head, method).done


@pytest.mark.parametrize(
    "raw",
    [
        b"xyz\r\n",
        b"\r\n",
        b"-5\r\n",
        b"1_0\r\n",
        b"11111111111111111\r\n",
        b"1\r\nab\r\n",
        b"a" * 2000,
        b"0\r\n" + b"Trailer: x\r\n" * 65,
    ],
)
def test_a_bad_chunk_is_refused(raw: bytes) -> None:
    body = http.Body(http.Head(200, "", {"transfer-encoding": "chunked"}), "GET")
    with pytest.raises(BadAnswer):
        piece, rest = body.feed(memoryview(raw))
        while piece:
            piece, rest = body.feed(rest)


def test_bodies_are_views_of_what_was_received() -> None:
    """A copy for each layer that data goes through made a client slower than its daemon."""
    data = memoryview(b"3\r\nabc\r\n")
    piece, rest = http.Body(http.Head(200, "", {"transfer-encoding": "chunked"}), "GET").feed(data)
    assert (bytes(piece), bytes(rest)) == (b"abc", b"\r\n") and piece.obj is data.obj
    piece, _ = http.Body(http.Head(200, "", {"content-length": "4"}), "GET").feed(data)
    assert bytes(piece) == b"3\r\na" and piece.obj is data.obj


@pytest.mark.parametrize("length", ["x", "\xb2", "-1", "1" * 5000])
def test_a_bad_length_is_refused(length: str) -> None:
    with pytest.raises(BadAnswer, match="Content-Length"):
        http.Body(http.Head(200, "", {"content-length": length}), "GET")


def test_a_connection_is_kept_only_when_the_body_has_an_end() -> None:
    assert http.Head(200, "", {"content-length": "0"}).reusable
    assert http.Head(204, "", {}).reusable
    assert not http.Head(200, "", {}).reusable
    assert not http.Head(200, "", {"content-length": "0", "connection": "close"}).reusable


def test_queries_are_percent_encoded_and_leave_out_what_is_absent() -> None:
    assert http.query({"a": "b c/ä&", "no": None, "e": ""}) == "?a=b%20c%2F%C3%A4%26&e="
    assert http.query({}) == ""
    assert http.quote("a/b:c@d", b"/:@") == "a/b:c@d"
