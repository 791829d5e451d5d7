"""A connection to a port of a guest: two sockets, far apart, as if they were one connection."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from corten.errors import Failed
from corten.guest.connection import Connections
from corten.supervisor.loop import Loop
from corten.vm import frames
from corten.vm.channel import Channel
from corten.vm.connection import Connection
from corten.vm.frames import STDIN, STDOUT, WINDOW
from free_ports import free_port

_LONG = bytes(range(256)) * (5 * WINDOW // 256)


class Ends:
    """`client` and `server` are the programs' sides."""

    def __init__(self) -> None:
        self.loop = Loop()
        ports = socket.socketpair()
        self.ports = ports
        self.failed: list[Exception] = []
        self.channels = [
            Channel(self.loop, port.fileno(), lambda _: None, self.failed.append, frames.FROM_GUEST) for port in ports
        ]
        self.client, ours = socket.socketpair()
        theirs, self.server = socket.socketpair()
        self.gone: list[str] = []
        self.unread: list[str] = []
        host, guest = self.channels
        self.host = Connection(
            host, 7, ours, (STDOUT, STDIN), lambda: self.gone.append("host"), lambda: self.unread.append("host")
        )
        self.guest = Connection(guest, 7, theirs, (STDIN, STDOUT), lambda: self.gone.append("guest"))
        self.host.begin()
        self.guest.begin()
        self.client.setblocking(False)
        self.server.setblocking(False)

    def settle(self) -> None:
        while self.loop.step(0):
            pass

    def carry(self, source: socket.socket, to: socket.socket, data: bytes) -> bytes:
        """Send all of it, and receive as much."""
        got, view = b"", memoryview(data)
        while len(got) < len(data):
            try:
                view = view[source.send(view) :] if view else view
            except BlockingIOError:
                pass
            self.settle()
            try:
                got += to.recv(1 << 20)
            except BlockingIOError:
                pass
        return got

    def close(self) -> None:
        self.host.end()
        self.guest.end()
        for channel in self.channels:
            channel.close()
        for sock in (*self.ports, self.client, self.server):
            sock.close()
        self.loop.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    assert not made.failed
    made.close()


def test_more_than_is_on_its_way_at_a_time_passes_in_both_directions(ends: Ends) -> None:
    assert ends.carry(ends.client, ends.server, _LONG) == _LONG
    assert ends.carry(ends.server, ends.client, _LONG) == _LONG


def test_each_direction_ends_by_itself(ends: Ends) -> None:
    ends.client.sendall(b"question")
    ends.client.shutdown(socket.SHUT_WR)
    ends.settle()
    assert (ends.server.recv(100), ends.server.recv(100)) == (b"question", b"")
    assert not ends.gone
    assert ends.carry(ends.server, ends.client, _LONG) == _LONG, "the other one goes on, with credit"
    ends.server.close()
    ends.settle()
    assert ends.client.recv(100) == b""
    assert sorted(ends.gone) == ["guest", "host"]


def test_one_that_does_not_read_any_more(ends: Ends) -> None:
    """`unread` is called, so that the other side can stop sending."""
    ends.client.close()
    ends.settle()
    assert ends.server.recv(100) == b"" and not ends.unread
    ends.server.send(b"too late")
    ends.settle()
    assert (ends.unread, ends.gone) == (["host"], ["host"])
    ends.guest.end()
    ends.settle()
    assert ends.gone == ["host", "guest"]
    with pytest.raises(BrokenPipeError):
        ends.server.send(b"to a closed socket")


def test_ended_now(ends: Ends) -> None:
    before = len(os.listdir("/proc/self/fd"))
    ends.host.end()
    ends.host.end()
    assert ends.gone == ["host"] and ends.client.recv(100) == b""
    assert len(os.listdir("/proc/self/fd")) == before - 3


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_is_found_at_either_loopback(address: str) -> None:
    loop = Loop()
    ours, theirs = socket.socketpair()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with ours, theirs, socket.socket(family, socket.SOCK_STREAM) as listener:
        port = free_port()  # at neither
        listener.bind((address, port))
        channel = Channel(loop, ours.fileno(), lambda _: None, lambda _: None, frames.FROM_HOST)
        connections, said = Connections(loop, channel), list[Exception | None]()
        connections.connect(1, port, said.append)
        while not said:
            loop.step(1)
        (refused,) = said
        assert isinstance(refused, Failed) and str(refused) == "connection refused"
        listener.listen()
        connections.connect(2, port, said.append)
        while len(said) < 2:
            loop.step(1)
        assert said[1] is None
        accepted, _ = listener.accept()
        connections.end(2)
        connections.end(2)
        with accepted:
            assert accepted.recv(100) == b""
        channel.close()
    loop.close()
