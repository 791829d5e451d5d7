"""POST /session, POST /grpc and POST /build?version=2 over raw sockets: the upgrade, and clients that are none."""

from __future__ import annotations

import socket

import pytest

from corten.buildkit import arrivals
from corten.http2 import frames as f
from fakes.daemon import Connection, Daemon, received

UPGRADE = "Host:\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
SESSION = UPGRADE + "X-Docker-Expose-Session-Uuid: one\r\n"
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


def rest(connection: socket.socket) -> bytes:
    data = b""
    while piece := connection.recv(1 << 16):
        data += piece
    return data


def test_a_session_begins_with_the_daemons_preface(raw: socket.socket, daemon: Daemon) -> None:
    with raw:
        raw.sendall(f"POST /session HTTP/1.1\r\n{SESSION}\r\n".encode())
        assert received(raw, len(ANSWER)) == ANSWER
        assert received(raw, len(f.PREFACE)) == f.PREFACE
    assert daemon.answers()


def test_what_a_client_sends_behind_its_request_is_not_lost(raw: socket.socket) -> None:
    """A ping in the same piece as the request."""
    with raw:
        ping = f.frame(f.PING, 0, 0, b"12345678")
        raw.sendall(f"POST /grpc HTTP/1.1\r\n{UPGRADE}\r\n".encode() + f.PREFACE + f.settings({}) + ping)
        assert received(raw, len(ANSWER)) == ANSWER
        raw.shutdown(socket.SHUT_WR)
        assert f.frame(f.PING, f.ACK, 0, b"12345678") in rest(raw)


@pytest.mark.parametrize("path", ["/session", "/grpc"])
def test_what_is_no_upgrade_is_refused(raw: socket.socket, path: str) -> None:
    with raw:
        raw.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        assert rest(raw).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n" * 100, b"\0" * 5000, b"\xff" * 5000, f.PREFACE + b"\xff" * 100, f.settings({}) * 20_000],
)
@pytest.mark.parametrize("path", ["/session", "/grpc"])
def test_something_else_than_http2_is_disconnected(raw: socket.socket, daemon: Daemon, path: str, data: bytes) -> None:
    with raw:
        raw.sendall(f"POST {path} HTTP/1.1\r\n{SESSION}\r\n".encode())
        assert received(raw, len(ANSWER)) == ANSWER
        try:
            raw.sendall(data)
            rest(raw)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was disconnected before it had sent all
    assert daemon.answers()


def test_a_session_without_an_id_is_disconnected(raw: socket.socket, daemon: Daemon) -> None:
    with raw:
        raw.sendall(f"POST /session HTTP/1.1\r\n{UPGRADE}\r\n".encode())
        assert rest(raw).startswith(ANSWER)
    assert daemon.answers()


def test_a_build_whose_session_does_not_come(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "WAIT", 0.05)
    connection = Connection(daemon)
    status, answer = connection.ask("POST", "/build?version=2&remote=client-session&session=nope&buildid=b")
    assert status == 503 and "no active session for nope" in answer["message"]
    status, answer = connection.ask("POST", "/build?version=2&remote=upload-request&session=nope&buildid=b")
    assert status == 503 and "no active upload for b" in answer["message"]
    status, _ = connection.ask("POST", "/build?version=3")
    assert status == 400
    connection.close()


def test_an_upload_whose_build_does_not_come(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corten.buildkit.faces.WAIT", 0.05)
    connection = Connection(daemon)
    status, answer = connection.ask("POST", "/build?version=2&buildid=upload-request:b", b"tar")
    assert status == 503 and "no build that waits" in answer["message"]
    connection.close()
