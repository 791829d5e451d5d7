"""A published TCP port that a process carries, in this process: bytes, ends, and how little is kept of them."""

from __future__ import annotations

import os
import select
import socket
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from corten.supervisor import loop, reserve
from corten.supervisor.forwarder import streams
from corten.supervisor.forwarder.streams import StreamPort
from corten.supervisor.loop import Loop

_LITTLE = 1 << 20  # bytes
_MUCH = bytes(range(256)) * 20_000  # 5 MB


class World:
    """A port at the loopback, and what listens in the container."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.container = socket.create_server(("127.0.0.1", 0))
        self.container.setblocking(False)
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = listener.getsockname()
        self.port = StreamPort(self.loop, listener.detach(), self.container.getsockname())
        self.opened: list[socket.socket] = []

    def until(self, true: Callable[[], object]) -> None:
        for _ in range(2000):
            if true():
                return
            self.loop.step(0.01)
        raise AssertionError("it never came true")

    def idle(self) -> None:
        """Nothing happens any more."""
        self.until(lambda: not self.loop.step(0.05))

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.address)
        client.setblocking(False)
        self.opened.append(client)
        return client

    def accepted(self) -> socket.socket:
        self.until(lambda: select.select([self.container], [], [], 0)[0])
        server, _ = self.container.accept()
        server.setblocking(False)
        self.opened.append(server)
        return server

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A connection: the client's end, and the container's."""
        return self.connect(), self.accepted()

    def received(self, side: socket.socket, size: int) -> bytes:
        """So many bytes, or less at the end of all."""
        found = bytearray()

        def enough() -> bool:
            with suppress(BlockingIOError):
                data = side.recv(size - len(found))
                found.extend(data)
                return not data or len(found) == size
            return False

        self.until(enough)
        return bytes(found)

    def fill(self, side: socket.socket) -> int:
        """Send until nothing goes any more; how much went."""
        sent, more = 0, True
        while more:
            more = False
            with suppress(BlockingIOError):
                while True:
                    sent += side.send(_MUCH[sent % 256 : 1 << 16])
                    more = True
            while self.loop.step(0.02):
                pass
        return sent

    def close(self) -> None:
        self.port.close()
        for one in (self.container, *self.opened):
            one.close()
        self.loop.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_bytes_go_both_ways(world: World) -> None:
    client, server = world.pair()
    got = {client: bytearray(), server: bytearray()}
    left = {client: memoryview(_MUCH), server: memoryview(_MUCH[::-1])}

    def done() -> bool:
        for side, data in left.items():
            with suppress(BlockingIOError):
                left[side] = data[side.send(data[:100_000]) :] if data else data
            with suppress(BlockingIOError):
                got[side] += side.recv(1 << 16)
        return all(len(all_) == len(_MUCH) for all_ in got.values())

    world.until(done)
    assert (bytes(got[server]), bytes(got[client])) == (_MUCH, _MUCH[::-1])


@pytest.mark.parametrize("first", ["client", "server"])
def test_one_direction_ends_alone(world: World, first: str) -> None:
    one, other = world.pair() if first == "client" else reversed(world.pair())
    one.sendall(b"all that I ask")
    one.shutdown(socket.SHUT_WR)
    assert world.received(other, 100) == b"all that I ask"
    world.idle()
    other.sendall(b"the answer")
    assert world.received(one, 10) == b"the answer"
    other.close()
    assert world.received(one, 1) == b""
    world.until(lambda: not world.port.connections)


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_reset_is_passed_on(world: World, first: str) -> None:
    one, other = world.pair() if first == "client" else reversed(world.pair())
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
    with pytest.raises(ConnectionResetError):
        world.received(other, 1)
    assert not world.port.connections


def test_a_container_that_does_not_listen_resets(world: World) -> None:
    world.container.close()
    client = world.connect()
    with pytest.raises(ConnectionResetError):
        world.received(client, 1)
    assert not world.port.connections


def test_who_does_not_read_stops_who_sends_and_nothing_is_kept(world: World) -> None:
    client, server = world.pair()
    tracemalloc.start()
    try:
        sent = world.fill(client)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < _LITTLE < sent
    world.idle()  # without a loop of events
    client.shutdown(socket.SHUT_WR)
    server.shutdown(socket.SHUT_WR)
    world.idle()
    assert len(world.received(server, sent + 1)) == sent
    world.until(lambda: not world.port.connections)


def test_what_was_sent_before_the_end_arrives(world: World) -> None:
    """Also when the other side has ended its direction already and does not read yet: what the kernel says of two ends
    is not heard again and again meanwhile."""
    world.container.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client, server = world.pair()
    (connection,) = world.port.connections
    connection._server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    server.shutdown(socket.SHUT_WR)
    assert world.received(client, 1) == b""
    client.send(_MUCH[: 40 << 10])  # less than the kernel keeps on the way to us, more than on the way on
    client.shutdown(socket.SHUT_WR)
    world.idle()
    assert connection._in.blocked
    assert world.received(server, 1 << 20) == _MUCH[: 40 << 10]
    world.until(lambda: not world.port.connections)


def test_connections_are_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CONNECTIONS", 2)
    first, second = world.pair(), world.pair()
    third = world.connect()  # by the kernel
    third.sendall(b"x")
    world.idle()
    assert len(world.port.connections) == 2
    assert not select.select([world.container], [], [], 0)[0]
    for side in first:
        side.close()
    assert world.received(world.accepted(), 1) == b"x"
    second[0].sendall(b"y")
    assert world.received(second[1], 1) == b"y"


def test_a_port_that_is_stopped_is_free_and_its_connections_go_on(world: World) -> None:
    client, server = world.pair()
    world.port.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(world.address)
        other.listen()
    client.sendall(b"still")
    assert world.received(server, 5) == b"still"
    world.port.close()
    assert world.received(client, 1) == b""


def test_without_a_descriptor_for_the_other_side_the_client_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(*_: object) -> None:
        raise OSError(24, "Too many open files")

    client = world.connect()
    with monkeypatch.context() as patched:
        patched.setattr(streams, "Connection", none)
        assert world.received(client, 1) == b""
    assert "Too many open files" in capsys.readouterr().err
    assert world.pair()


def test_the_last_descriptors_are_the_daemon_s(
    world: World, few_descriptors: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_PAUSE", 0.01)
    while not _is_closed(world.connect(), world):
        world.accepted()
    for number in [os.dup(0) for _ in range(reserve.KEPT // 4)]:
        os.close(number)
    for connection in list(world.port.connections):
        connection.close()
    assert len(world.opened) > 10
    for one in world.opened:
        one.close()
    assert world.pair()


def _is_closed(client: socket.socket, world: World) -> bool:
    """Or it has been connected to the container."""
    world.until(lambda: select.select([client, world.container], [], [], 0)[0])
    return bool(select.select([client], [], [], 0)[0])
