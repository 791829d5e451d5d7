"""Clients that begin a body and send nothing more of it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from http.client import HTTPResponse

import pytest

from corten.api import call
from fakes.daemon import Connection, Daemon


@pytest.mark.parametrize("begun", [b"", b"1\r\n{\r\n"])
@pytest.mark.parametrize(
    "request_line",
    [
        "POST /containers/create",
        "POST /v1.45/networks/create",
        "POST /volumes/create",
        "POST /images/present",
        "POST /commit?container=box",
    ],
)
def test_a_body_that_stops_is_answered_and_its_connection_closed(
    daemon: Daemon, http: Connection, monkeypatch: pytest.MonkeyPatch, request_line: str, begun: bytes
) -> None:
    if "box" in request_line:
        made = http.ask("POST", "/containers/create?name=box", {"Image": "test", "Cmd": ["true"]})
        assert made[0] == 201
    monkeypatch.setattr(call, "PATIENCE", 0.2)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(daemon.socket)
        head = f"{request_line} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + begun)
        answer = HTTPResponse(client)
        answer.begin()
        assert answer.status == 408 and answer.headers["Connection"] == "close"
        assert "nothing has come" in json.loads(answer.read())["message"]


def test_a_body_that_stops_is_not_waited_for_when_nothing_reads_it(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(daemon.socket)
        client.sendall(b"POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.sendall(b"400\r\n\x1f\x8b" + b"x" * 1022 + b"\r\n")  # no gzip
        answer = HTTPResponse(client)
        answer.begin()
        assert b'"message":' in answer.readline()


def test_a_slow_body_is_taken(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for one piece, not for all."""
    waited, waits = [], threading.Event()

    class Slow:
        def __init__(self, seconds: float) -> None:
            waited.append(seconds)
            waits.set()

        async def __aenter__(self) -> None:
            return

        async def __aexit__(self, *_: object) -> None:
            return

    monkeypatch.setattr(asyncio, "timeout", Slow)
    body = json.dumps({"Image": "test", "Cmd": ["true"]}).encode()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(daemon.socket)
        client.sendall(b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n")
        client.sendall(f"Content-Length: {len(body)}\r\n\r\n".encode())
        for at in range(len(body) - 1):
            client.sendall(body[at : at + 1])
        assert waits.wait(60), "the daemon does not wait for the last byte"
        client.sendall(body[-1:])
        assert b" 201 " in client.recv(200)
    assert set(waited) == {call.PATIENCE}


@pytest.mark.parametrize("path", ["/events", "/containers/box/logs?stdout=1&follow=1", "/containers/box/stats"])
def test_a_client_that_goes_away_is_no_error(
    daemon: Daemon, http: Connection, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    assert http.ask("POST", "/containers/create?name=box", {"Image": "test", "Cmd": ["sleep", "60"]})[0] == 201
    assert http.ask("POST", "/containers/box/start")[0] == 204
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(daemon.socket)
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
    assert http.ask("GET", "/_ping")[0] == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
