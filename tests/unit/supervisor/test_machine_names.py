"""A machine's questions about names, without a tap."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Any, cast

import pytest

from corten.spec import udp
from corten.spec.udp import Datagram
from corten.supervisor import tap_sockets
from corten.supervisor.machine_names import Names
from corten.supervisor.tap_sockets import OTHERS

_BRIDGE = bytes((172, 18, 0, 1))
_QUESTION = b"\xaa\xbb\1\0\0\1\0\0\0\0\0\0\4beta\0\0\1\0\1"
ASKED = Datagram(b"\2\x42\0\0\0\1", b"\2\x42\0\0\0\2", bytes((172, 18, 0, 2)), _BRIDGE, 999, 53, _QUESTION)


class Tap:
    """A packet socket on it."""

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, int]] = []
        self.sent: list[Datagram | None] = []
        self.name = "tap"

    def fileno(self) -> int:
        return 1000

    def getsockname(self) -> tuple[str, int]:
        return self.name, 3

    def recvfrom(self, _: int) -> tuple[bytes, tuple[str, int, int]]:
        if not self.frames:
            raise OSError(errno.ENETDOWN, "Network is down")
        frame, kind = self.frames.pop(0)
        return frame, ("tap", 0, kind)

    def send(self, frame: bytes) -> None:
        self.sent.append(udp.parse(frame))

    def close(self) -> None:
        pass


class Loop:
    def __init__(self) -> None:
        self.watched: dict[int, Any] = {}

    def watch(self, fd: int, _: int, call: Any) -> None:
        self.watched[fd] = call

    def forget(self, fd: int) -> None:
        self.watched.pop(fd, None)


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tap, self.loop = Tap(), Loop()
        monkeypatch.setattr(tap_sockets, "listen", lambda *_: self.tap)
        monkeypatch.setattr("corten.kernel.tap.name_of", lambda _: "tap")
        self.server, asks = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.server.setblocking(False)
        self.number = asks.detach()
        self.names = Names(cast(Any, self.loop), self.number)
        self.names.add(5, "172.18.0.1")

    def ask(self, asked: Datagram = ASKED, kind: int = 0) -> bytes:
        self.tap.frames.append((udp.made(asked), kind))
        self.loop.watched[1000](1000)
        try:
            return self.server.recv(4096)
        except BlockingIOError:
            return b""

    def answer(self, answer: bytes) -> Datagram | None:
        self.server.send(answer)
        self.loop.watched[self.number](self.number)
        return self.tap.sent.pop() if self.tap.sent else None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(monkeypatch)
    yield made
    made.server.close()
    made.names.close()


def test_a_question_and_its_answer(world: World) -> None:
    came = world.ask()
    assert came[2:] == _QUESTION[2:]
    got = world.answer(came[:2] + b"\x81\x80" + _QUESTION[4:] + b"more")
    assert got is not None and got.content == b"\xaa\xbb\x81\x80" + _QUESTION[4:] + b"more"
    assert (got.target_mac, got.target, got.target_port) == (ASKED.source_mac, ASKED.source, 999)
    assert (got.source, got.source_port) == (_BRIDGE, 53)
    assert world.answer(came[:2] + b"\x81\x80" + _QUESTION[4:]) is None, "it was answered"


@pytest.mark.parametrize(
    "asked", [ASKED._replace(target=bytes((9, 9, 9, 9))), ASKED._replace(content=b"short"), ASKED._replace(content=b"")]
)
def test_what_is_not_for_it(world: World, asked: Datagram) -> None:
    assert world.ask(asked) == b"" and world.ask(kind=OTHERS) == b""


def test_an_answer_that_does_not_fit_a_frame(world: World) -> None:
    came = world.ask()
    got = world.answer(came[:2] + b"\x81\x80" + _QUESTION[4:] + bytes(1500))
    assert got is not None and got.content == b"\xaa\xbb\x83\x80\0\1" + bytes(6) + _QUESTION[12:]


def test_another_name_server(world: World) -> None:
    world.ask()
    server, asks = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with server:
        world.server.close()
        world.server, world.number = server, asks.detach()
        world.names.ask_by(world.number)
        server.setblocking(False)
        came = world.ask()
        got = world.answer(came[:2] + bytes(20))
        assert got is not None and got.content[:2] == b"\xaa\xbb"


def test_what_is_kept_is_bounded(world: World) -> None:
    first = world.ask()
    for _ in range(256):
        last = world.ask()
    assert world.answer(first[:2] + bytes(20)) is None
    assert world.answer(last[:2] + bytes(20)) is not None
    assert world.answer(struct.pack("!H", 60000) + bytes(20)) is None and world.answer(b"x") is None
    world.names.close()
    assert world.loop.watched == {}


@pytest.mark.parametrize(("name", "watched"), [("tap", True), ("", False)])
def test_a_tap_that_is_down_or_gone(world: World, name: str, watched: bool) -> None:
    world.tap.name = name
    world.loop.watched[1000](1000)
    assert (1000 in world.loop.watched) == watched


def test_another_tap(world: World) -> None:
    world.tap.name = ""
    world.loop.watched[1000](1000)
    world.tap.name = "tap"
    world.names.add(7, "172.18.0.1")
    assert world.ask()
