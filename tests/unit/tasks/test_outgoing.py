"""Frames to a process that does not read."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from corten.supervisor import wire
from corten.tasks import outgoing
from corten.tasks.outgoing import Outgoing

MANY = 1000  # more than any socket takes


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def received(connection: socket.socket, count: int) -> list[int]:
    """The numbers of so many frames, each of whose descriptors is closed."""
    connection.setblocking(False)
    decoder, found = wire.Decoder(), list[int]()
    while len(found) < count:
        try:
            wire.receive(connection, decoder)
        except BlockingIOError:
            await asyncio.sleep(0)
        while frame := decoder.next():
            message, fds = frame
            found.append(message["number"])
            assert len(fds) == 1
            os.close(fds[0])
    return found


async def test_frames_wait_with_their_descriptors_and_arrive_in_order(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    out, before = Outgoing(pair[0]), descriptors()
    for number in range(MANY):
        fd = os.open("/", os.O_PATH)
        out.send({"number": number, "text": "x" * 1000}, [fd])
        os.close(fd)
    assert not out.read()
    assert await received(pair[1], MANY) == list(range(MANY))
    assert out.read() and descriptors() == before
    out.close()


async def test_what_is_not_read_in_time_is_given_up(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "PATIENCE", 0.05)
    late = asyncio.Event()
    out, before = Outgoing(pair[0], late=late.set), descriptors()
    large = "x" * (1 << 20)  # begun, and so completed in any case
    out.send({"number": 0, "text": large})
    out.send({"number": 1}, [0])
    assert descriptors() == before + 1
    await asyncio.wait_for(late.wait(), 60)
    assert descriptors() == before
    decoder = wire.Decoder()
    pair[1].setblocking(False)
    while (frame := decoder.next()) is None:
        try:
            wire.receive(pair[1], decoder)
        except BlockingIOError:
            await asyncio.sleep(0)
    assert frame[0] == {"number": 0, "text": large}
    out.close()


async def test_the_other_end_is_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    broken = asyncio.Event()
    out = Outgoing(pair[0], broken=broken.set)
    before = descriptors()
    for number in range(MANY):
        out.send({"number": number, "text": "x" * 1000}, [0])
    pair[1].close()
    await asyncio.wait_for(broken.wait(), 60)
    assert descriptors() == before - 1
    with pytest.raises(OSError):
        out.send({"number": 0})
