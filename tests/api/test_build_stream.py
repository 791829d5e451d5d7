"""POST /build/stream over raw sockets: the upgrade, a build from first question to end, clients that are none."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from corten.spec import build_frames as f
from corten.spec.json import Json
from fakes.daemon import Daemon, received

UPGRADE = "Host:\r\nConnection: Upgrade\r\nUpgrade: corten-build\r\n"
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: corten-build\r\n\r\n"
QUERY = "directories=" + quote('{"dockerfile":"","context":"key"}')


def frames(connection: socket.socket) -> Iterator[f.Frame]:
    codec = f.Frames(f.MOST_SAID)
    while data := connection.recv(1 << 16):
        yield from codec.feed(data)


def begin(connection: socket.socket, query: str = QUERY, behind: bytes = b"") -> None:
    connection.sendall(f"POST /build/stream?{query} HTTP/1.1\r\n{UPGRADE}\r\n".encode() + behind)
    assert received(connection, len(ANSWER)) == ANSWER


def client(connection: socket.socket, files: dict[str, bytes]) -> list[Json]:
    """Answers walks with these files, whatever of them is asked for; the events."""
    events: list[Json] = []
    said: dict[int, list[str]] = {}
    for kind, channel, data in frames(connection):
        if kind == f.EVENT:
            events.append(json.loads(data))
        elif kind == f.CALL:
            wanted = json.loads(data)["follow"]
            names = said[channel] = sorted(name for name in files if name in wanted or not wanted)
            rows = b"".join(f.entry(0o100644, len(files[name]), 10**18, name.encode()) for name in names)
            connection.sendall(f.frame(f.ENTRIES, channel, rows) + f.frame(f.END, channel))
        elif kind == f.WANTED:
            for number in f.numbers(data):
                content = files[said[channel][number]]
                for at in range(0, len(content), f.PIECE):
                    connection.sendall(f.frame(f.PART, channel, f.numbered(number, content[at : at + f.PIECE])))
                connection.sendall(f.frame(f.FILE, channel, f.numbered(number)))
    return events


def test_a_build(raw: socket.socket) -> None:
    begin(raw)
    events = client(raw, {"Dockerfile": b"FROM scratch\nCOPY a /a\n", "a": b"content"})
    assert "aux" in events[-1], events[-1]
    assert set(events[-1]["aux"]) == {"ID", "Digest", "Answer"}
    assert any(event.get("vertexes") for event in events)


def test_an_error_is_the_last_event(raw: socket.socket) -> None:
    begin(raw)
    events = client(raw, {"Dockerfile": b"FROM scratch\nFOO a\n"})
    assert events[-1]["errorDetail"]["ranges"] == [[2, 2]] and "unknown instruction" in events[-1]["error"]


def test_an_error_in_a_large_dockerfile(raw: socket.socket) -> None:
    """Which is in its event, and larger than a frame of the client's may be."""
    begin(raw)
    text = b"FROM scratch\nFOO a\n" + b"# comment\n" * 120_000
    assert len(text) > f.MOST
    assert client(raw, {"Dockerfile": text})[-1]["errorDetail"]["dockerfile"].encode() == text


def test_what_the_checks_find(raw: socket.socket) -> None:
    begin(raw, f"{QUERY}&check=1")
    found = client(raw, {"Dockerfile": b"FROM scratch as A\n"})[-1]["aux"]["Check"]
    assert [each["ruleName"] for each in found["warnings"]][:1] == ["StageNameCasing"] and not found["failed"]


@pytest.mark.parametrize("headers", ["Host:\r\n", "Host:\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"])
def test_what_is_no_upgrade_is_refused(raw: socket.socket, headers: str) -> None:
    raw.sendall(f"POST /build/stream HTTP/1.1\r\n{headers}Content-Length: 0\r\n\r\n".encode())
    assert received(raw, 12) == b"HTTP/1.1 400"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("directories=[]", 400), ("directories=%7B%22a%22:1%7D", 400), ("contexts=x", 400), ("outputs=%7B%7D", 400),
        ("cacheimports=1", 400), ("cacheexports=%5B1%5D", 400), ("t=%20", 400), ("buildargs=1", 400),
    ],
)  # fmt: skip
def test_what_no_build_can_be_is_refused_before_the_upgrade(raw: socket.socket, query: str, status: int) -> None:
    raw.sendall(f"POST /build/stream?{query} HTTP/1.1\r\n{UPGRADE}\r\n".encode())
    assert received(raw, 12) == f"HTTP/1.1 {status}".encode()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        f.head(f.DATA, 1, f.MOST + 1),
        f.frame(f.DATA, 77, b"x"),
        f.frame(f.CALL, 1, b"{}"),
        f.frame(f.EVENT, 0, b"{}"),
    ],
)
def test_what_breaks_the_protocol_is_disconnected(raw: socket.socket, daemon: Daemon, data: bytes) -> None:
    begin(raw, behind=data)
    assert all(kind != f.EVENT or b"aux" not in payload for kind, _, payload in frames(raw))
    assert daemon.answers()


@pytest.mark.parametrize("events", [1, 2, 3])
def test_a_client_that_goes_leaves_nothing(raw: socket.socket, daemon: Daemon, events: int) -> None:
    begin(raw)
    for number, _ in enumerate(frames(raw)):
        if number == events:
            break
    raw.close()
    assert daemon.answers()
