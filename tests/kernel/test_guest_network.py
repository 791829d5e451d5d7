"""A guest's network, as the host says: addresses, routes, neighbours, and the name server that relays to the host."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from corten.instance.contract import Created, Instance
from corten.spec import dns
from corten.supervisor.guests import NameServer
from corten.supervisor.loop import READ, Loop
from corten.supervisor.requests import Create, Guest
from corten.supervisor.virtual import Virtual
from corten.vm.contract import Interface
from guests import Json, ProcessHost, ProcessMachine, agent_machine
from instance_parts.world import BUSYBOX, World, ended, remove_group
from taps import tap

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="needs Debian's busybox-static"),
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="needs /dev/net/tun"),
]


@pytest.fixture(autouse=True, scope="module")
def no_group_is_left() -> Iterator[None]:
    yield
    remove_group(os.getpid())


MAC, GATEWAY = "02:42:0a:09:08:02", "02:42:0a:09:08:01"
ETH0: Json = {
    "name": "eth0",
    "mac": MAC,
    "mtu": 1400,
    "addresses": ["10.9.8.2/24", "fd00:9::2/64"],
    "routes": [
        {"destination": "0.0.0.0/0", "gateway": "10.9.8.1"},
        {"destination": "10.7.0.0/16", "gateway": ""},
        {"destination": "::/0", "gateway": "fd00:9::1"},
    ],
    "neighbours": [["10.9.8.1", GATEWAY]],
}


class Networked(World):
    """Its machine has one interface from the beginning."""

    def __init__(self, root: Path, device: int, server: int | None) -> None:
        super().__init__(root, "vm")
        self._device, self._server = device, server

    def _plugged(self) -> ProcessMachine:
        machine = agent_machine()
        machine.plug_interface(Interface("eth0", self._device, MAC))
        return machine

    def _made(self, request: Create) -> Instance:
        names = None if self._server is None else NameServer(self._server)
        guest = Guest(interfaces=(ETH0,), names=names is not None)
        return Virtual(request._replace(guest=guest), -1, ProcessHost(self._plugged), names)


Begin = Callable[[int | None], tuple[Networked, Instance]]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    with tap(f"gn{os.getpid()}") as device:
        made: list[tuple[Instance, Created]] = []

        def started(server: int | None) -> tuple[Networked, Instance]:
            world = Networked(tmp_path, device, server)
            instance, created = world.started("sleep", "1000")
            created.listener.close()
            made.append((instance, created))
            return world, instance

        yield started
        for instance, created in made:
            instance.signal(signal.SIGKILL, False)
            assert ended(instance, created) == 137
            instance.delete()


def test_addresses_routes_and_neighbours(begin: Begin) -> None:
    world, instance = begin(None)
    shown = world.output_of(instance, "busybox", "ip", "address", "show", "dev", "eth0")
    assert "mtu 1400" in shown and f"link/ether {MAC}" in shown and ",UP" in shown
    found = [line.split()[1] for line in shown.splitlines() if line.split()[0] in ("inet", "inet6")]
    assert found == ["10.9.8.2/24", "fd00:9::2/64"]  # and none of its own accord
    routes = [line.split() for line in world.output_of(instance, "busybox", "ip", "route").splitlines()]
    assert ["default", "via", "10.9.8.1", "dev", "eth0"] in routes
    assert ["10.7.0.0/16", "dev", "eth0", "scope", "link"] in routes
    sixth = world.output_of(instance, "busybox", "ip", "-6", "route")
    assert "default via fd00:9::1 dev eth0" in sixth
    neighbours = world.output_of(instance, "busybox", "ip", "neigh").split()
    assert neighbours[:5] == ["10.9.8.1", "dev", "eth0", "lladdr", GATEWAY] and "PERMANENT" in neighbours
    assert "127.0.0.1/8" in world.output_of(instance, "busybox", "ip", "address", "show", "dev", "lo")


ANSWER = IPv4Address("10.9.8.77")


class Server:
    """Knows one address, for every name."""

    def __init__(self, loop: Loop) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.theirs = theirs.detach()
        self.asked: list[str] = []
        loop.watch(self.socket.fileno(), READ, self._answer)

    def _answer(self, _: int) -> None:
        message = self.socket.recv(65536)
        question = dns.parse(message)
        self.asked.append(question.name)
        known = [ANSWER] if question.kind == dns.A else []
        self.socket.send(dns.addresses(message, question, known, dns.LARGEST))


def said(loop: Loop, world: Networked, instance: Instance, script: str, enough: Callable[[bytes], bool]) -> bytes:
    """By a shell in the guest, until that is enough."""
    process, reader = world.entered(instance, "sh", "-c", script)
    os.set_blocking(reader, False)
    got = b""
    loop.watch(reader, READ, lambda _: None)
    while not enough(got):
        assert loop.step(20), got
        with suppress(BlockingIOError):
            got += os.read(reader, 1000)
    process.signal(signal.SIGKILL)
    world.wait(process.ended)
    process.reap()
    loop.forget(reader)
    os.close(reader)
    return got


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def server(loop: Loop) -> Iterator[Server]:
    made = Server(loop)
    yield made
    made.socket.close()


def test_names_are_asked_of_the_host(begin: Begin, loop: Loop, server: Server) -> None:
    world, instance = begin(server.theirs)
    loop.watch(instance.events, READ, lambda _: instance.advance())
    asking = "busybox nslookup -type=a web.example 127.0.0.11"
    said(loop, world, instance, asking, lambda got: f"Address: {ANSWER}".encode() in got)
    assert "web.example" in server.asked


def test_names_are_asked_of_the_host_by_tcp(begin: Begin, loop: Loop, server: Server) -> None:
    world, instance = begin(server.theirs)
    loop.watch(instance.events, READ, lambda _: instance.advance())
    question = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\3web\0\0\1\0\1"
    expected = dns.addresses(question, dns.parse(question), [ANSWER], dns.LARGEST)  # with the id that was chosen there
    escaped = "".join(f"\\{byte:03o}" for byte in len(question).to_bytes(2, "big") + question)
    asking = f"{{ printf '{escaped}'; sleep 20; }} | busybox nc 127.0.0.11 53"
    got = said(loop, world, instance, asking, lambda got: len(got) >= 2 + len(expected))
    assert got == len(expected).to_bytes(2, "big") + expected
    assert server.asked == ["web"]
