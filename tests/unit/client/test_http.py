from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.client import http
from corten.client.errors import BadAnswer


def read(raw: bytes, method: str = "GET", pieces: int = 1) -> tuple[http.Head, bytes, bool]:
    """Feed `raw` in pieces of a size, as a slow network would."""
    buffer = bytearray()
    head = None
    body = None
    out = b""
    for at in range(0, len(raw), pieces):
        buffer += raw[at : at + pieces]
        if head is None:
            head = http.take_head(buffer)
            body = http.Body(head, method) if head else None
        if body is not None:
            out += body.feed(buffer)
    assert head is not None and body is not None
    return head, out, body.done


def test_a_head_is_status_reason_and_lower_case_headers() -> None:
    head, _, _ = read(b"HTTP/1.1 404 Not Found\r\nContent-Type:  text/x \r\nContent-Length: 0\r\n\r\n")
    assert (head.status, head.reason, head.headers["content-type"]) == (404, "Not Found", "text/x")


@pytest.mark.parametrize("raw", [b"SMTP hello\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_not_http_is_refused(raw: bytes) -> None:
    with pytest.raises(BadAnswer, match="not an HTTP answer"):
        http.take_head(bytearray(raw))


def test_a_head_without_end_is_refused_in_time() -> None:
    with pytest.raises(BadAnswer, match="no end"):
        http.take_head(bytearray(b"x" * (http.MAX_HEAD + 1)))


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


@pytest.mark.parametrize("size", [b"xyz", b""])
def test_a_bad_chunk_size_is_refused(size: bytes) -> None:
    body = http.Body(http.Head(200, "", {"transfer-encoding": "chunked"}), "GET")
    with pytest.raises(BadAnswer):
        body.feed(bytearray(size + b"\r\n"))


def test_a_connection_is_kept_only_when_the_body_has_an_end() -> None:
    assert http.Head(200, "", {"content-length": "0"}).reusable
    assert http.Head(204, "", {}).reusable
    assert not http.Head(200, "", {}).reusable
    assert not http.Head(200, "", {"content-length": "0", "connection": "close"}).reusable


def test_queries_are_percent_encoded_and_leave_out_what_is_absent() -> None:
    assert http.query({"a": "b c/ä&", "no": None, "e": ""}) == "?a=b%20c%2F%C3%A4%26&e="
    assert http.query({}) == ""
    assert http.quote("a/b:c@d", b"/:@") == "a/b:c@d"
