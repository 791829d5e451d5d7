"""A published UDP port that a process carries, in this process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from corten.supervisor import reserve
from corten.supervisor.forwarder import datagrams
from corten.supervisor.forwarder.datagrams import DatagramPort
from corten.supervisor.loop import Loop


def _udp(family: int, address: str) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.bind((address, 0))
    except OSError:
        made.close()
        pytest.skip("this machine has no IPv6")
    made.setblocking(False)
    return made


class World:
    def __init__(self) -> None:
        self.loop = Loop()
        self.container = _udp(socket.AF_INET, "127.0.0.1")
        bound = _udp(socket.AF_INET6, "::")
        self.address = ("::1", bound.getsockname()[1])
        self.opened = [self.container]
        self.port = DatagramPort(self.loop, bound.detach(), self.container.getsockname())

    def client(self) -> socket.socket:
        """Connected, so that it hears only whom it has asked."""
        made = _udp(socket.AF_INET6, "::1")
        made.connect(self.address)
        self.opened.append(made)
        return made

    def received(self, side: socket.socket) -> tuple[bytes, tuple[str, int]]:
        found: list[tuple[bytes, tuple[str, int]]] = []

        def heard() -> bool:
            try:
                found.append(side.recvfrom(65535))
            except BlockingIOError:
                return False
            return True

        self.until(heard)
        return found[0]

    def until(self, true: Callable[[], object]) -> None:
        for _ in range(2000):
            if true():
                return
            self.loop.step(0.01)
        raise AssertionError("it never came true")

    def close(self) -> None:
        self.port.close()
        for one in self.opened:
            one.close()
        self.loop.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_each_client_gets_its_own_answers(world: World) -> None:
    clients = {f"question {number}".encode(): world.client() for number in range(5)}
    for question, client in clients.items():
        client.send(question)
    for _ in clients:
        question, peer = world.received(world.container)
        world.container.sendto(b"answer to " + question, peer)
    for question, client in clients.items():
        assert world.received(client)[0] == b"answer to " + question
    clients[b"question 0"].send(b"again")
    _, before = world.received(world.container)
    clients[b"question 0"].send(b"and again")
    assert world.received(world.container)[1] == before
    assert len(world.port.connections) == 5


def test_large_and_empty_datagrams(world: World) -> None:
    client = world.client()
    for datagram in (b"", b"x" * 60_000):
        client.send(datagram)
        got, peer = world.received(world.container)
        assert got == datagram
        world.container.sendto(got, peer)
        assert world.received(client)[0] == datagram


def test_flows_are_counted_and_the_silent_one_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "FLOWS", 2)
    first, second, third = (world.client() for _ in range(3))
    for client in (first, second, first, third):
        client.send(b"x")
        world.received(world.container)
    ports = {peer[0][1] for peer in world.port.connections}
    assert ports == {client.getsockname()[1] for client in (first, third)}


def test_silence_ends_a_flow(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "_LOOK_EVERY", 0.01)
    world.client().send(b"x")
    world.received(world.container)
    assert len(world.port.connections) == 1
    monkeypatch.setattr(datagrams, "_IDLE", 0.0)
    world.until(lambda: not world.port.connections)


def test_the_last_descriptors_are_the_daemon_s(world: World, few_descriptors: None) -> None:
    for number in range(60):
        world.client().send(b"%d" % number)
    world.until(lambda: not world.loop.step(0.01))
    for number in [os.dup(0) for _ in range(reserve.KEPT // 4)]:
        os.close(number)
    assert 2 <= len(world.port.connections) < 60  # how many it is depends on what the test process has open
    world.opened[1].send(b"again")
    said = [world.received(world.container)[0] for _ in range(len(world.port.connections) + 1)]
    assert said[-1] == b"again"


def test_a_container_that_refuses_ends_nothing(world: World) -> None:
    client = world.client()
    address = world.container.getsockname()
    world.container.close()
    for _ in range(3):
        client.send(b"lost")
        world.until(lambda: not world.loop.step(0.01))
    world.container = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    world.opened.append(world.container)
    world.container.bind(address)
    world.container.setblocking(False)
    client.send(b"heard")
    assert world.received(world.container)[0] == b"heard"


@pytest.mark.parametrize(
    ("ours", "sent_from"),
    [("2001:db8::1", ("2001:db8::1", 0)), ("fe80::1", ("fe80::1", 7)), ("febf::1", ("febf::1", 7))],
)
def test_answers_come_from_where_questions_went(ours: str, sent_from: tuple[str, int]) -> None:
    """A link-local address is one of a device; others are found by their route."""
    packed = socket.inet_pton(socket.AF_INET6, ours)
    info = packed + (7).to_bytes(4, "little")
    found = datagrams._ours([(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)])
    assert (socket.inet_ntop(socket.AF_INET6, found[:16]), int.from_bytes(found[16:], "little")) == sent_from
