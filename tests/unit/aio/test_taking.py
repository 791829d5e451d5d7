"""What a client has sent and nothing takes, when it disconnects."""

from __future__ import annotations

import asyncio
import socket

import pytest

from corten.aio import taking
from corten.aio.taking import close, disconnected, taken


async def nothing() -> None:
    pass


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_a_client_that_leaves_is_seen_behind_what_it_sent() -> None:
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    theirs.sendall(b"text")
    assert not disconnected(writer.transport)
    theirs.close()
    assert disconnected(writer.transport)
    writer.transport.abort()
    assert disconnected(writer.transport) and disconnected(None)


async def test_what_is_taken_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    await taken(nothing(), lambda: True)
    monkeypatch.setattr(taking, "_PATIENCE", 0.001)
    looks: list[bool] = []
    done = asyncio.Event()

    async def late() -> None:
        await done.wait()

    def left() -> bool:
        looks.append(len(looks) % 2 == 1)  # twice in a row is what counts
        if len(looks) > 6:
            done.set()
        return looks[-1]

    await taken(late(), left)
    assert len(looks) > 6


async def test_what_is_not_taken_ends_with_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "_PATIENCE", 0.001)
    task = asyncio.ensure_future(for_ever())
    with pytest.raises(ConnectionResetError):
        await taken(task, lambda: True)
    await asyncio.wait({task})
    assert task.cancelled()


async def test_who_waits_may_be_cancelled() -> None:
    task = asyncio.ensure_future(for_ever())
    waiting = asyncio.ensure_future(taken(task, lambda: False))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({task, waiting})
    assert task.cancelled() and waiting.cancelled()


async def test_a_connection_is_closed_though_its_peer_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "_PATIENCE", 0.001)
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    with theirs:
        while writer.transport.get_write_buffer_size() < 1000:
            writer.write(bytes(1 << 16))
        close(writer)
        async with asyncio.timeout(60):
            while ours.fileno() >= 0:
                await asyncio.sleep(0.001)


async def test_what_is_still_to_be_written_is() -> None:
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    reader, other = await asyncio.open_connection(sock=theirs)
    sent = 0
    while writer.transport.get_write_buffer_size() < 1000:
        writer.write(bytes(1 << 16))
        sent += 1 << 16
    close(writer)
    async with asyncio.timeout(60):
        assert len(await reader.read()) == sent
    other.close()
