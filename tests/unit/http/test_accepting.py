"""Connections, with and without descriptors for them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import resource
import socket
from collections.abc import Iterator

import pytest

from corten.http import accepting
from corten.http.accepting import Accepting


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


async def greeted(listening: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_connections_are_taken(listening: socket.socket) -> None:
    server = Accepting([listening], Echo)
    assert await asyncio.gather(*(greeted(listening) for _ in range(200))) == [b"hello"] * 200
    server.close()
    with pytest.raises(OSError):
        listening.getsockname()


async def test_without_a_descriptor_it_pauses_says_so_once_and_goes_on(
    listening: socket.socket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "_PAUSE", 0.02)
    clients = [socket.create_connection(listening.getsockname()) for _ in range(5)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    tries, accept = [], socket.socket.accept

    class Counted(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            tries.append(asyncio.get_running_loop().time())
            return accept(self)

    counted = Counted(fileno=listening.detach())
    highest = max(map(int, os.listdir("/proc/self/fd")))
    taken = [os.dup(0) for _ in range(highest)]  # no gap is left below the limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    try:
        server = Accepting([counted], Echo)
        while len(tries) < 4:
            await asyncio.sleep(0.001)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
    assert min(after - before for before, after in itertools.pairwise(tries)) >= 0.02
    for client in clients:
        client.setblocking(False)
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 10), 60) == b"hello"
        client.close()
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.message for record in said] == [
        "cannot take connections, which wait until there is room again: Too many open files"
    ]
    server.close()
