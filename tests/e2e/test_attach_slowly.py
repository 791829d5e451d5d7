"""A client that attaches and has not read its answer yet when the run that it asked for is over."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.patience import PATIENCE

ASKS = "POST /containers/box/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: docker\r\n"
UPGRADES = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
NOWHERE = ["/etc/passwd/x:/y"]  # a start with it fails before anything else is made


@pytest.fixture
def slow(daemon: Cortend) -> Iterator[socket.socket]:
    """The daemon waits two seconds for such a client."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(daemon.socket))
        yield client


def attach(client: socket.socket) -> None:
    """The answer has come, and is not read."""
    client.sendall((ASKS + UPGRADES).encode())
    assert select.select([client], [], [], PATIENCE)[0]


def make(daemon: Cortend, binds: list[str]) -> None:
    body = {"Image": IMAGE, "Cmd": ["sleep", "1000"], "OpenStdin": True, "HostConfig": {"Binds": binds}}
    assert daemon.ask("POST", "/containers/create?name=box", body)[0] == 201


def check_end(client: socket.socket) -> None:
    head, _, rest = b"".join(iter(lambda: client.recv(1 << 16), b"")).partition(b"\r\n\r\n")
    assert (head.split(b"\r\n")[0], rest) == (b"HTTP/1.1 101 UPGRADED", b"")


@pytest.mark.parametrize("remove", [False, True])
def test_the_start_has_failed(daemon: Cortend, slow: socket.socket, remove: bool) -> None:
    make(daemon, NOWHERE)
    attach(slow)
    assert daemon.ask("POST", "/containers/box/start")[0] == 400
    if remove:
        assert daemon.ask("DELETE", "/containers/box")[0] == 204
    check_end(slow)


@pytest.mark.parametrize("starts", [False, True])
def test_it_was_removed(daemon: Cortend, slow: socket.socket, starts: bool) -> None:
    make(daemon, [])
    if starts:
        assert daemon.ask("POST", "/containers/box/start")[0] == 204
    attach(slow)
    assert daemon.ask("DELETE", "/containers/box?force=1")[0] == 204
    check_end(slow)


def test_the_program_has_ended(daemon: Cortend, slow: socket.socket) -> None:
    """Its next run is not the one that the client asked for."""
    make(daemon, [])
    assert daemon.ask("POST", "/containers/box/start")[0] == 204
    attach(slow)
    assert daemon.ask("POST", "/containers/box/kill")[0] == 204
    check_end(slow)
