"""Questions about other names: which servers are asked, and which answer counts."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from corten.spec import dns
from corten.supervisor.loop import READ, Loop
from corten.supervisor.names import attempts, upstreams
from corten.supervisor.names.upstreams import Asked, Upstreams

QUERY = struct.pack(">HHHHHH", 77, 0x100, 1, 0, 0, 0) + dns.encode_name("example.org") + struct.pack(">HH", dns.A, 1)
QUESTION = dns.parse(QUERY)


def _bound(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """By UDP and TCP. A port that only one of them has free is tried no more than once when any will do."""
    while True:
        tcp = socket.create_server((address, port))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
            return udp, tcp
        except OSError:
            for one in (udp, tcp):
                one.close()
            if port:
                raise


class Server:
    """An upstream at one address, by UDP and TCP, that answers when a test says so."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.udp, self.tcp = _bound(address, port)
        self.port = self.udp.getsockname()[1]
        for one in (self.udp, self.tcp):
            one.settimeout(60)
        self._accepted: list[socket.socket] = []
        self._reply: Callable[[bytes], object] = lambda reply: None
        self.query = b""

    def asked(self, tcp: bool) -> None:
        """Wait for the question."""
        if tcp:
            connection, _ = self.tcp.accept()
            self._accepted.append(connection)
            with connection.makefile("rb") as stream:
                self.query = stream.read(int.from_bytes(stream.read(2), "big"))
            self._reply = lambda reply: connection.sendall(struct.pack(">H", len(reply)) + reply)
        else:
            self.query, peer = self.udp.recvfrom(4096)
            self._reply = lambda reply: self.udp.sendto(reply, peer)

    def answer(self, code: int = dns.NOERROR) -> None:
        self._reply(dns.refuse(self.query, dns.parse(self.query), code))

    def stop(self) -> None:
        for one in (self.udp, self.tcp, *self._accepted):
            one.close()


class World:
    def __init__(self) -> None:
        self.loop = Loop()
        self.upstreams = Upstreams(self.loop, "/dev/null")
        self.among: set[Asked] = set()
        self.answers: list[bytes] = []
        self.first = Server("127.0.0.1", 0)
        self.second = Server("127.0.0.2", self.first.port)
        self.third = Server("127.0.0.3", self.first.port)
        self.servers = (self.first, self.second, self.third)

    def ask(self, tcp: bool, *servers: Server) -> None:
        names = [server.address for server in servers]
        self.upstreams.ask(QUERY, QUESTION, names, tcp, self.answers.append, self.among)

    def asked(self, server: Server, tcp: bool) -> None:
        """This process asks that server, whatever it has to wait for."""
        listens = server.tcp if tcp else server.udp
        self.loop.watch(listens.fileno(), READ, lambda _: seen.append(1))
        seen: list[int] = []
        self.until(lambda: seen)
        self.loop.forget(listens.fileno())
        while tcp and self.loop.step(0):  # its question has to be written yet
            pass
        server.asked(tcp)

    def until(self, true: Callable[[], object]) -> None:
        for _ in range(1000):
            if true():
                return
            self.loop.step(0.05)
        raise AssertionError("it never came true")

    def answered(self) -> int:
        """The code of the one answer; then nothing is kept of the question."""
        self.until(lambda: self.answers)
        assert not self.among and not self.upstreams._asked
        (reply,) = self.answers
        assert dns.answers(QUERY, QUESTION, reply, 77)
        return dns.code(reply)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    monkeypatch.setattr(attempts, "PORT", made.first.port)
    yield made
    for server in made.servers:
        server.stop()
    made.loop.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next server is asked at once."""
    monkeypatch.setattr(upstreams, "_TRY", 0.0)
    monkeypatch.setattr(upstreams, "_LOOK_EVERY", 0.01)


BOTH = pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])


@BOTH
@pytest.mark.parametrize("code", [dns.SERVFAIL, dns.REFUSED, dns.NOTIMP])
def test_the_next_server_is_asked_when_one_cannot_say(world: World, tcp: bool, code: int) -> None:
    world.ask(tcp, world.first, world.second)
    world.asked(world.first, tcp)
    world.first.answer(code)
    world.asked(world.second, tcp)
    world.second.answer()
    assert world.answered() == dns.NOERROR


@BOTH
def test_that_there_is_no_such_name_is_an_answer(world: World, tcp: bool) -> None:
    world.ask(tcp, world.first, world.second)
    world.asked(world.first, tcp)
    world.first.answer(dns.NXDOMAIN)
    assert world.answered() == dns.NXDOMAIN


@BOTH
def test_what_the_last_server_says_is_passed_on_when_none_knows(world: World, tcp: bool) -> None:
    world.ask(tcp, world.first, world.second)
    for server, code in ((world.first, dns.SERVFAIL), (world.second, dns.REFUSED)):
        world.asked(server, tcp)
        server.answer(code)
    assert world.answered() == dns.REFUSED


@BOTH
def test_a_slow_server_still_counts_when_the_next_was_asked(world: World, tcp: bool, hasty: None) -> None:
    world.ask(tcp, world.first, world.second)
    world.asked(world.first, tcp)
    world.asked(world.second, tcp)
    world.first.answer()
    assert world.answered() == dns.NOERROR


@BOTH
def test_a_slow_server_is_waited_for_when_the_others_fail(world: World, tcp: bool, hasty: None) -> None:
    world.third.stop()  # refused
    world.ask(tcp, world.first, world.second, world.third)
    world.asked(world.first, tcp)
    world.asked(world.second, tcp)
    world.second.answer(dns.SERVFAIL)
    world.until(lambda: all(not asked._servers and len(asked._attempts) == 1 for asked in world.among))
    world.first.answer()
    assert world.answered() == dns.NOERROR


@BOTH
def test_the_only_server_has_more_time_than_one_of_several(world: World, tcp: bool, hasty: None) -> None:
    world.ask(tcp, world.first)
    world.asked(world.first, tcp)
    for _ in range(5):
        world.upstreams._look()
    world.first.answer()
    assert world.answered() == dns.NOERROR


@BOTH
def test_no_server_is_waited_for_without_end(
    world: World, tcp: bool, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "_PATIENCE", 0.05)
    world.ask(tcp, world.first)
    assert world.answered() == dns.SERVFAIL


def test_a_question_has_few_sockets(world: World, hasty: None) -> None:
    open_ = set[int]()
    world.ask(False, *[world.first] * 20)
    (asked,) = world.among
    while asked._servers:
        world.upstreams._look()
        open_.add(len(asked._attempts))
    assert max(open_) == upstreams._AT_A_TIME
    asked.give_up()


def test_a_server_that_cannot_be_asked_is_skipped(world: World) -> None:
    world.upstreams.ask(QUERY, QUESTION, ["nonsense", "127.0.0.1"], False, world.answers.append, world.among)
    world.asked(world.first, False)
    world.first.answer()
    assert world.answered() == dns.NOERROR
