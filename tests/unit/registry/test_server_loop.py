"""Files that are sent, and other clients that are served meanwhile."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from corten.registry.server import loop as module
from corten.registry.server.loop import SendingLoop

SIZE = 100 << 20


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    with path.open("wb") as file:
        for number in range(SIZE >> 20):
            file.write(number.to_bytes(4, "big") * (1 << 18))
    return path


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[asyncio.WriteTransport, socket.socket]]:
    server, client = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=server)
    with client:
        yield transport, client
    transport.close()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=SendingLoop) as runner:
        runner.run(work())


def read(client: socket.socket, pause: float = 0) -> bytes:
    client.setblocking(True)
    parts = []
    while data := client.recv(1 << 20):
        parts.append(data)
        time.sleep(pause)
    return b"".join(parts)


def test_a_part_arrives_whole_and_others_get_their_turn(blob: Path) -> None:
    async def check() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.001)

        async with connection() as (transport, client):
            reading = asyncio.create_task(asyncio.to_thread(read, client))
            counting = asyncio.create_task(others())
            with blob.open("rb") as file:
                assert await asyncio.get_running_loop().sendfile(transport, file, 1, SIZE - 2) == SIZE - 2
            counting.cancel()
            transport.close()
            assert await reading == blob.read_bytes()[1:-1]
        assert turns > 3

    run(check)


def test_a_slow_client_gets_everything(blob: Path) -> None:
    pause = 2.5 * module._PATIENCE / 1000  # longer than a thread waits

    async def check() -> None:
        async with connection() as (transport, client):
            reading = asyncio.create_task(asyncio.to_thread(read, client, pause))
            with blob.open("rb") as file:
                assert await asyncio.get_running_loop().sendfile(transport, file, 0, 4 << 20) == 4 << 20
            transport.close()
            assert await reading == blob.read_bytes()[: 4 << 20]

    run(check)


def waits(monkeypatch: pytest.MonkeyPatch, number: int) -> asyncio.Event:
    """Set when so many files wait for their clients, which do not read."""
    waiting, reached, writable = 0, asyncio.Event(), SendingLoop._writable

    async def counted(loop: SendingLoop, fd: int) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == number:
            reached.set()
        await writable(loop, fd)

    monkeypatch.setattr(SendingLoop, "_writable", counted)
    return reached


def test_clients_that_do_not_read_hold_no_thread(blob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        all_wait = waits(monkeypatch, 40)
        loop = asyncio.get_running_loop()
        async with connection() as (one, _), connection() as (other, _):
            with blob.open("rb") as file:
                sending = [asyncio.create_task(loop.sendfile(each, file, 0, SIZE)) for each in (one, other) * 20]
                await asyncio.wait_for(all_wait.wait(), 30)
                await asyncio.wait_for(asyncio.to_thread(os.getpid), 60)
                for task in sending:
                    task.cancel()
                assert all(isinstance(end, asyncio.CancelledError) for end in
                           await asyncio.gather(*sending, return_exceptions=True))  # fmt: skip

    run(check)


def test_a_client_that_goes_away_ends_it(blob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        it_waits = waits(monkeypatch, 1)
        async with connection() as (transport, client):
            with blob.open("rb") as file:
                sending = asyncio.create_task(asyncio.get_running_loop().sendfile(transport, file, 0, SIZE))
                await asyncio.wait_for(it_waits.wait(), 30)
                client.close()
                with pytest.raises(ConnectionError):
                    await asyncio.wait_for(sending, 60)

    run(check)


def test_a_file_that_is_too_short_is_no_endless_work(tmp_path: Path) -> None:
    async def check() -> None:
        (tmp_path / "short").write_bytes(b"short")
        async with connection() as (transport, client):
            with (tmp_path / "short").open("rb") as file:
                assert await asyncio.get_running_loop().sendfile(transport, file, 0, SIZE) == 5
            assert client.recv(10) == b"short"

    run(check)
