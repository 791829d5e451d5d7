"""Attached clients over real socket pairs: nothing is lost, no client waits for another."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corten.supervisor.clients import Client, Sink
from corten.supervisor.loop import Loop
from corten.supervisor.requests import Attachment


class World:
    def __init__(self, spill: Path) -> None:
        self.loop = Loop()
        self.spill = spill
        self.closed: list[str] = []

    def client(self, sink: Sink | None = None, **options: Any) -> tuple[Client, socket.socket]:
        ours, theirs = socket.socketpair()
        theirs.settimeout(5)
        settings = Attachment(stdin=sink is not None)._replace(**options)
        client = Client(self.loop, ours, settings, sink, str(self.spill), lambda _, why: self.closed.append(why))
        return client, theirs

    def turn(self) -> None:
        while self.loop.step(0):
            pass


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.loop.close()


def test_a_disk_that_becomes_full_in_the_middle_ends_the_client(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it gets is a beginning of what there was, never something with a hole in it."""
    client, theirs = world.client()
    sent = b"".join(struct.pack(">I", number) * 16384 for number in range(64))
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: whole(fd, data[: len(data) // 2], at))
    for at in range(0, len(sent), 65536):
        client.output(1, sent[at : at + 65536])
    assert world.closed == ["too slow"]
    received = bytearray()
    while data := theirs.recv(1 << 20):
        received += data
    assert received and sent.startswith(bytes(received))
    theirs.close()


def test_a_client_that_does_not_read_costs_disk_and_loses_nothing(world: World) -> None:
    client, theirs = world.client()
    sent = b"".join(struct.pack(">I", number) * 4096 for number in range(256))  # 4 MiB: more than socket and memory
    for at in range(0, len(sent), 65536):
        client.output(1, sent[at : at + 65536])
    assert client.busy
    client.finish()
    received = bytearray()
    while len(received) < len(sent):
        world.turn()
        received += theirs.recv(1 << 20)
    world.turn()
    assert bytes(received) == sent
    assert theirs.recv(1) == b""
    assert world.closed == ["finished"]
    assert list(world.spill.iterdir()) == []
    theirs.close()


def test_output_is_framed_when_asked_and_only_of_the_streams_wanted(world: World) -> None:
    client, theirs = world.client(mux=True, stderr=False)
    client.output(1, b"one")
    client.output(2, b"two")
    assert theirs.recv(100) == b"\x01\0\0\0\0\0\0\x03one"
    client.close("test")
    theirs.close()


def test_a_half_close_ends_the_input_and_not_the_output(world: World) -> None:
    reader, writer = os.pipe()
    sink = Sink(world.loop, writer, closes=True)
    client, theirs = world.client(sink, early=b"early")
    theirs.sendall(b" late")
    theirs.shutdown(socket.SHUT_WR)
    world.turn()
    assert os.read(reader, 100) == b"early late"
    assert world.closed == ["end of input"]
    client.output(1, b"still here")
    assert theirs.recv(100) == b"still here"
    client.close("test")
    theirs.close()
    sink.close()
    os.close(reader)


@pytest.mark.parametrize("pieces", [[b"a\x10\x11b"], [b"a\x10", b"\x11b"]])
def test_the_detach_keys_are_found_also_between_two_reads(world: World, pieces: list[bytes]) -> None:
    reader, writer = os.pipe()
    sink = Sink(world.loop, writer, closes=True)
    _, theirs = world.client(sink, detach_keys=b"\x10\x11")
    for piece in pieces:
        theirs.sendall(piece)
        world.turn()
    assert os.read(reader, 100) == b"a"
    assert world.closed == ["detach"]
    theirs.close()
    sink.close()
    os.close(reader)


def test_a_begun_sequence_that_is_none_is_passed_on(world: World) -> None:
    reader, writer = os.pipe()
    sink = Sink(world.loop, writer, closes=True)
    client, theirs = world.client(sink, detach_keys=b"\x10\x11")
    theirs.sendall(b"\x10\x10x")
    world.turn()
    assert os.read(reader, 100) == b"\x10\x10x"
    client.close("test")
    theirs.close()
    sink.close()
    os.close(reader)


def test_a_container_that_does_not_read_stops_the_client_not_us(world: World) -> None:
    reader, writer = os.pipe()
    sink = Sink(world.loop, writer, closes=True)
    client, theirs = world.client(sink)
    theirs.setblocking(False)
    total = 0
    for _ in range(200):
        try:
            total += theirs.send(b"x" * 65536)
        except BlockingIOError:
            break
        world.loop.step(0)
    else:
        pytest.fail("the client was never made to wait")
    received = 0
    while received < total:
        received += len(os.read(reader, 1 << 20))
        world.turn()
    client.close("test")
    theirs.close()
    sink.close()
    os.close(reader)


def test_a_bug_in_one_callback_is_not_the_others(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        calls = []

        def fails(_: int) -> None:
            calls.append(1)
            raise RuntimeError("a bug")

        world.loop.watch(ours.fileno(), 1, fails)
        theirs.send(b"x")
        world.loop.step(0)
        assert not world.loop.step(0)
    assert calls == [1]
    assert "a bug" in capfd.readouterr().err
