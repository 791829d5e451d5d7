"""Both ends of an agent's port over a pair of sockets: streams that do not wait for one another."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from corten.errors import Corrupt
from corten.supervisor.loop import Loop
from corten.vm import frames
from corten.vm.channel import Channel
from corten.vm.frames import DATA, STDERR, STDIN, STDOUT, WINDOW

Json = dict[str, Any]


class End:
    """One end, and what it was given."""

    def __init__(self, loop: Loop, port: socket.socket) -> None:
        self.port = port
        self.objects: list[Json] = []
        self.failed: list[Exception] = []
        self.channel = Channel(loop, port.fileno(), self.objects.append, self._lost, frames.FROM_GUEST)

    def _lost(self, error: Exception) -> None:
        self.failed.append(error)
        self.channel.close()


class Port:
    def __init__(self) -> None:
        self.loop = Loop()
        ours, theirs = socket.socketpair()
        self.host, self.guest = End(self.loop, ours), End(self.loop, theirs)

    def settle(self) -> None:
        """Until nothing happens any more."""
        while self.loop.step(0):
            pass

    def close(self) -> None:
        for end in (self.host, self.guest):
            end.channel.close()
            end.port.close()
        self.loop.close()


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.close()


def stream(port: Port, kind: int, number: int) -> tuple[int, int]:
    """From the guest to the host: where to write, and where it comes out."""
    inside, writer = os.pipe2(os.O_CLOEXEC)
    reader, outside = os.pipe2(os.O_CLOEXEC)
    port.host.channel.sink(kind, number, outside)
    port.guest.channel.source(kind, number, inside, lambda: None)
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    return writer, reader


def fill(port: Port, writer: int) -> int:
    """Write until nothing more is taken; how much that was."""
    total, chunk = 0, bytes(65536)
    while True:
        before = total
        with suppress(BlockingIOError):
            while True:
                total += os.write(writer, chunk)
        port.settle()
        if total == before:
            return total


def test_bytes_and_their_end(port: Port) -> None:
    writer, reader = stream(port, STDOUT, 0)
    os.write(writer, b"a word\n")
    port.settle()
    assert os.read(reader, 100) == b"a word\n"
    os.close(writer)
    port.settle()
    assert os.read(reader, 100) == b""
    os.close(reader)


def test_what_is_not_read_stops_its_own_stream_alone(port: Port) -> None:
    """Two pipes and two windows is all that there is of it, anywhere."""
    unread, other = stream(port, STDOUT, 0), stream(port, STDERR, 0)
    third = stream(port, DATA, 4)
    taken = fill(port, unread[0])
    assert WINDOW <= taken <= 2 * WINDOW + 2 * 65536
    for writer, reader in (other, third):
        os.write(writer, b"goes on")
        port.settle()
        assert os.read(reader, 100) == b"goes on"
    port.guest.channel.send({"as": "objects do"})
    port.settle()
    assert port.host.objects == [{"as": "objects do"}]
    for fd in (*unread, *other, *third):
        os.close(fd)


def test_a_hundred_megabytes_come_through_in_bounded_memory(port: Port) -> None:
    writer, reader = stream(port, STDOUT, 0)
    before, got, sent, chunk = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0, 0, b"\1" * 65536
    while got < 100 << 20:
        with suppress(BlockingIOError):
            while sent < 100 << 20:
                sent += os.write(writer, chunk)
        port.settle()
        with suppress(BlockingIOError):
            while data := os.read(reader, 1 << 20):
                assert not data.strip(b"\1")
                got += len(data)
    assert got == sent
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10  # KiB
    os.close(writer)
    os.close(reader)


def test_a_reader_that_is_gone_holds_nothing_up(port: Port) -> None:
    """As behind a pipe that is closed: the rest goes nowhere."""
    writer, reader = stream(port, STDOUT, 0)
    os.close(reader)
    sent = 0
    while sent < 4 << 20:
        with suppress(BlockingIOError):
            sent += os.write(writer, bytes(65536))
        port.settle()
    os.close(writer)
    port.settle()
    assert not port.host.failed and not port.guest.failed


def test_what_was_written_before_the_end_comes(port: Port) -> None:
    """Also when another process still has the pipe open, and as soon as there is credit."""
    inside, writer = os.pipe2(os.O_CLOEXEC)
    reader, outside = os.pipe2(os.O_CLOEXEC)
    ended: list[bool] = []
    sink = port.host.channel.sink(STDOUT, 0, outside)
    source = port.guest.channel.source(STDOUT, 0, inside, lambda: ended.append(True))
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    taken = fill(port, writer)
    source.finish(65536)
    assert not ended
    written: list[bool] = []
    sink.then(lambda: written.append(True))
    got = 0
    while not (ended and written):
        with suppress(BlockingIOError):
            got += len(os.read(reader, 1 << 20))
        port.settle()
    with suppress(BlockingIOError):
        got += len(os.read(reader, 1 << 20))
    assert got == taken
    os.close(writer)
    os.close(reader)


def lies(port: Port, data: bytes) -> Exception:
    """How the host takes it, which is the end of the conversation."""
    port.guest.port.setblocking(True)
    with suppress(BrokenPipeError):
        port.guest.port.sendall(data)
    port.settle()
    (error,) = port.host.failed
    return error


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (frames.frame(STDOUT, 9, b"x"), "stream 9 does not exist"),
        (frames.frame(STDOUT, 4_000_000_000), "does not exist"),
        (frames.frame(STDOUT, 0, bytes(WINDOW)) + frames.frame(STDOUT, 0, bytes(65537)), "that was no credit for"),
        (frames.credit(STDIN, 0, 1), "credit for more than was sent"),
        (frames.frame(frames.CONTROL, 0, b"{"), "no JSON"),
        (b"\x99" * 20, "unknown kind"),
    ],
    ids=["unknown", "far", "more than allowed", "credit", "no object", "noise"],
)
def test_lies_end_the_conversation(port: Port, data: bytes, words: str) -> None:
    reader, outside = os.pipe2(os.O_CLOEXEC)
    inside, writer = os.pipe2(os.O_CLOEXEC)
    port.host.channel.sink(STDOUT, 0, outside)
    port.host.channel.source(STDIN, 0, inside, lambda: None)
    error = lies(port, data)
    assert isinstance(error, Corrupt) and words in str(error)
    os.close(reader)
    os.close(writer)


def test_words_for_a_stream_that_was_closed_are_dropped(port: Port) -> None:
    """They were on their way when it was."""
    _, outside = os.pipe2(os.O_CLOEXEC)
    port.host.channel.sink(STDOUT, 0, outside).end()
    port.guest.port.setblocking(True)
    port.guest.port.sendall(frames.frame(STDOUT, 0, b"late") * 100 + frames.credit(STDIN, 0, 5))
    port.settle()
    assert not port.host.failed


def test_the_other_end_is_closed(port: Port) -> None:
    port.guest.channel.close()
    port.guest.port.close()
    port.settle()
    (error,) = port.host.failed
    assert isinstance(error, EOFError)


def test_answers_that_are_not_read_are_not_kept(port: Port) -> None:
    """The other side brings them about as quickly as it likes, and reads nothing."""
    port.guest.channel.close()
    answer = frames.frame(frames.DNS, 1, bytes(60_000))
    for _ in range(100):
        port.host.channel.offer(answer)
    assert port.host.channel._waiting < 3 << 20
    port.guest.port.setblocking(False)
    while port.host.channel._waiting:
        port.guest.port.recv(1 << 20)
        port.settle()
    port.host.channel.offer(answer)
    port.settle()
    assert port.guest.port.recv(1 << 20).endswith(bytes(60_000))


def test_credit_for_one_that_reads_nothing_is_owed(port: Port) -> None:
    port.guest.channel.close()
    reader, outside = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reader, False)
    port.host.channel.sink(STDOUT, 0, outside)
    port.host.channel.put(frames.frame(frames.DNS, 1, bytes(4 << 20)))
    port.guest.port.setblocking(True)
    waiting = port.host.channel._waiting
    for _ in range(2):
        port.guest.port.sendall(frames.frame(STDOUT, 0, bytes(WINDOW // 2)))
        port.settle()
        os.read(reader, WINDOW)
    port.settle()
    assert port.host.channel._waiting == waiting
    port.guest.port.setblocking(False)
    got = b""
    while port.host.channel._waiting:
        got = port.guest.port.recv(1 << 20)
        port.settle()
    with suppress(BlockingIOError):
        while True:
            got = got[-100:] + port.guest.port.recv(1 << 20)
    assert got.endswith(frames.credit(STDOUT, 0, WINDOW))
    port.guest.port.setblocking(True)
    port.guest.port.sendall(frames.frame(STDOUT, 0, bytes(WINDOW)))
    port.settle()
    assert not port.host.failed
    os.close(reader)


def test_a_fault_in_what_is_called_is_the_end_of_the_conversation(port: Port) -> None:
    """A port that nothing reads any more must not look like a guest that is silent."""

    class Fault(list[Json]):
        def append(self, _: Json) -> None:
            raise ValueError("a bug")

    ours, theirs = socket.socketpair()
    end = End(port.loop, ours)
    end.channel._received = Fault().append
    theirs.sendall(frames.message({"event": "hello"}))
    port.settle()
    assert [type(error) for error in end.failed] == [ValueError]
    ours.close()
    theirs.close()
