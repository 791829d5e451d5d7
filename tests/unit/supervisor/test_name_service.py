"""One container's name server, in this process: what it answers, and how little a container can make it keep."""

from __future__ import annotations

import os
import socket
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from corten.spec import dns
from corten.supervisor import reserve
from corten.supervisor.loop import Loop
from corten.supervisor.names import attempts
from corten.supervisor.names import service as services
from corten.supervisor.names.directory import Directory
from corten.supervisor.names.service import Service
from corten.supervisor.names.upstreams import Upstreams

WEB = "w" * 64
SILENT = "192.0.2.1"  # no host has it (RFC 5737)
_LITTLE = 2 << 20  # bytes


class World:
    def __init__(self, resolv_conf: Path) -> None:
        self.loop = Loop()
        self.directory = Directory()
        self.upstreams = Upstreams(self.loop, str(resolv_conf))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.udp.bind(("127.0.0.1", 0))
        self.put("web", "127.1.0.1")
        own = (self.udp.dup().detach(), self.tcp.dup().detach())
        self.service = Service(self.loop, self.directory, self.upstreams, WEB, *own)

    def put(self, name: str, address: str, container: str = WEB, *aliases: str) -> None:
        host = {"name": name, "names": [name, *aliases], "addresses": [address]}
        self.directory.put("n" * 64, "shop", container, host)

    def until(self, true: Callable[[], object]) -> None:
        for _ in range(1000):
            if true():
                return
            self.loop.step(0.05)
        raise AssertionError("it never came true")

    def connect(self) -> socket.socket:
        made = socket.create_connection(self.tcp.getsockname())
        made.setblocking(False)
        return made

    def received(self, client: socket.socket) -> bytes:
        """The next that comes; b"" at the end."""
        found: list[bytes] = []

        def heard() -> bool:
            try:
                found.append(client.recv(65535))
            except BlockingIOError:
                return False
            except ConnectionResetError:
                found.append(b"")
            return True

        self.until(heard)
        return found[0]

    def close(self) -> None:
        self.service.close()
        self.udp.close()
        self.tcp.close()
        self.loop.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "resolv.conf").write_text(f"nameserver {SILENT}\n")
    made = World(tmp_path / "resolv.conf")
    yield made
    made.close()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that says nothing, on this machine: it may have a route to no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setattr(attempts, "PORT", server.getsockname()[1])
        yield "127.0.0.1"


def query(id: int, name: str = "web", kind: int = dns.A, extra: bytes = b"") -> bytes:
    header = struct.pack(">HHHHHH", id & 0xFFFF, 0x100, 1, 0, 0, 1 if extra else 0)
    return header + dns.encode_name(name) + struct.pack(">HH", kind, 1) + extra


def grown(work: Callable[[], None]) -> int:
    """The most bytes that were in use at once, above what was at the beginning."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def padding(number: int, size: int) -> bytes:
    """An EDNS record with an unassigned option (RFC 6891)."""
    option = struct.pack(">HHQ", 65001, size, number) + bytes(size - 8)
    return b"\0\0\x29" + struct.pack(">HIH", 4096, 0, len(option)) + option


def test_different_questions_about_a_known_name_are_not_all_kept(world: World) -> None:
    world.put("db", "127.1.0.2", "d" * 64, "web")
    answers: list[bytes] = []

    def ask() -> None:
        for number in range(100_000):
            world.service.answer(query(number, extra=padding(number, 3000)), False, answers.append)
            answers[:-1] = []

    assert grown(ask) < _LITTLE
    assert len(answers[0]) == len(query(0)) + 2 * 16


def test_different_questions_about_unknown_names_are_not_all_under_way(world: World, silent: str) -> None:
    world.service.open = True
    world.service.servers = [silent]
    counts = {dns.SERVFAIL: 0}

    def refused(reply: bytes) -> None:
        counts[reply[3] & 15] += 1

    def ask() -> None:
        for number in range(100_000):
            name = f"n{number}.example"
            world.service.answer(query(number, name, extra=padding(number, 3000)), False, refused)

    assert grown(ask) < _LITTLE
    assert counts[dns.SERVFAIL] == 100_000 - services._IN_FLIGHT


def test_the_last_descriptors_are_the_daemon_s(world: World, few_descriptors: None, silent: str) -> None:
    world.service.open = True
    world.service.servers = [silent]
    refused: list[bytes] = []
    for number in range(120):
        world.service.answer(query(number, f"n{number}.example"), False, refused.append)
    assert refused and {reply[3] & 15 for reply in refused} == {dns.SERVFAIL}
    late = world.connect()
    assert world.received(late) == b""
    late.close()
    for number in [os.dup(0) for _ in range(reserve.KEPT // 4)]:
        os.close(number)


def test_questions_without_a_usable_server_leave_nothing(world: World) -> None:
    """Each is over at once, and is not kept until the next sweep."""
    world.service.open = True
    world.service.servers = ["not an address"]

    def ask() -> None:
        for number in range(20_000):
            world.service.answer(query(number, "a.example", extra=padding(number, 3000)), False, lambda reply: None)

    assert grown(ask) < _LITTLE


def test_connections_of_a_container_are_counted(world: World) -> None:
    clients = [world.connect() for _ in range(services._CLIENTS)]
    world.until(lambda: len(world.service._clients) == services._CLIENTS)
    late = world.connect()
    assert world.received(late) == b""
    clients[0].sendall(struct.pack(">H", len(query(7))) + query(7))
    assert world.received(clients[0])[2:4] == b"\0\7"
    for client in (*clients, late):
        client.close()


def test_a_client_that_does_not_read_is_not_read_either(world: World) -> None:
    """It gets all its answers as soon as it does."""
    for number in range(200):  # answers of 3 KB
        world.put(f"c{number}", f"127.2.0.{number}", f"{number:064}", "many")
    question = struct.pack(">H", len(query(1, "many"))) + query(1, "many")
    client = world.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # the kernel would keep megabytes
    asked, sent = 0, True

    def ask() -> None:
        nonlocal asked, sent
        while sent:
            sent = False
            with suppress(BlockingIOError):
                for _ in range(100):
                    asked += client.send(question[asked % len(question) :])
                    sent = True
            while world.loop.step(0):
                pass

    assert grown(ask) < _LITTLE
    size = 2 + len(query(1, "many")) + 200 * 16
    got = 0
    while got < asked // len(question) * size:
        got += len(world.received(client))
    client.close()


def test_a_question_that_is_too_long_ends_its_connection(world: World) -> None:
    client = world.connect()
    client.sendall(struct.pack(">H", services._LARGEST + 1))
    assert world.received(client) == b""
    client.close()


def test_a_name_that_dns_cannot_say_ends_nothing(world: World) -> None:
    """Docker allows names of more than 63 characters, and dots in a row."""
    replies: list[bytes] = []
    for number, name in enumerate(["x" * 64, "two..dots"]):
        world.put(name, f"127.3.0.{number}", name.ljust(64, "0"))
        reverse = f"{number}.0.3.127.in-addr.arpa"
        world.service.answer(query(number, reverse, dns.PTR), False, replies.append)
    assert [reply[3] & 15 for reply in replies] == [dns.NOERROR] * 2
    assert [reply[6:8] for reply in replies] == [b"\0\0"] * 2  # they exist and have no such name
