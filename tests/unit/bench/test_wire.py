"""The small HTTP client against bytes that a daemon may send."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from bench.measure import Failed
from bench.wire import Connection

ANSWERS = [
    (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n" + b'{"Id": "a"}', {"Id": "a"}),
    (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'5;x=y\r\n{"a":\r\n3\r\n 1}\r\n0\r\n\r\n',
        {"a": 1},
    ),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nOK", b"OK"),
]


def serve(path: Path, answers: list[bytes]) -> tuple[threading.Thread, list[bytes]]:
    """Answer one request after the other on one connection; the requests as they came."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    requests: list[bytes] = []

    def work() -> None:
        with listener, listener.accept()[0] as connection:
            for answer in answers:
                requests.append(connection.recv(65536))
                connection.sendall(answer)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, requests


def test_answers_follow_one_another_on_one_connection(tmp_path: Path) -> None:
    thread, requests = serve(tmp_path / "s", [answer for answer, _ in ANSWERS])
    with Connection(tmp_path / "s", timeout=5) as api:
        for _, decoded in ANSWERS:
            assert api.ask("GET", "/x") == decoded
    thread.join(60)
    assert requests[0] == b"GET /x HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n"


def test_bodies_say_what_they_are(tmp_path: Path) -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    thread, requests = serve(tmp_path / "s", [ok, ok])
    with Connection(tmp_path / "s", timeout=5) as api:
        api.ask("POST", "/json", {"a": 1})
        api.ask("POST", "/tar", b"tar")
    thread.join(60)
    assert requests[0].endswith(b'Content-Type: application/json\r\n\r\n{"a": 1}')
    assert requests[1].endswith(b"Content-Type: application/x-tar\r\n\r\ntar")


def test_a_refusal_is_one_line(tmp_path: Path) -> None:
    answer = b'HTTP/1.1 409 Conflict\r\nContent-Length: 17\r\n\r\n{"message": "no"}'
    thread, _ = serve(tmp_path / "s", [answer])
    with Connection(tmp_path / "s", timeout=5) as api, pytest.raises(Failed, match=r'POST /x: 409 {"message": "no"}'):
        api.ask("POST", "/x?name=y")
    thread.join(60)


def test_a_closed_connection_is_reported(tmp_path: Path) -> None:
    thread, _ = serve(tmp_path / "s", [b""])
    with Connection(tmp_path / "s", timeout=5) as api, pytest.raises(Failed, match="closed the connection"):
        api.ask("GET", "/x")
    thread.join(60)
