"""Registries that trickle, and what is no answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from corten.errors import Failed, Unavailable
from corten.registry.client import pace
from corten.registry.client import repository as repository_
from corten.registry.client import web as web_
from corten.registry.client.registry import Registry, Settings
from corten.spec.reference import parse
from corten.store.blobs import Blobs
from image_parts.asking import DATA, blob
from image_parts.registries import Scripted


async def test_a_registry_that_trickles_is_given_up_and_gone_on_with(
    client: Registry, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "WINDOW", 0.2)
    given_up = asyncio.Event()

    async def trickle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await answer.prepare(request)
        for at in range(0, len(DATA), 10):
            await answer.write(DATA[at : at + 10])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(given_up.wait(), 0.05)
        return answer

    server.before = trickle
    with pytest.raises(Unavailable, match=r"registry sends too slowly: \d+ bytes in .*kept for the next pull"):
        await blob(client, server)
    given_up.set()
    asked = len(server.requests)
    server.before = None
    await blob(client, server)
    assert asked == 1 and server.requests[-1].headers["Range"].startswith("bytes=")


def test_the_pace_is_an_average() -> None:
    now = [0.0]
    measured = pace.Pace(lambda: now[0])
    for second in range(1, 1000):  # a burst every 100 seconds is enough
        now[0] = second
        measured.took(200 * pace.LEAST if second % 100 == 0 else 0)
    slow = pace.Pace(lambda: now[0])
    for _ in range(int(pace.WINDOW) - 1):
        now[0] += 1
        slow.took(pace.LEAST - 10)
    now[0] += 1
    with pytest.raises(Unavailable):
        slow.took(pace.LEAST - 10)


_TLS = b"\x16"  # the first byte of a handshake (RFC 8446 5.1): a client on this machine tries it first


@asynccontextmanager
async def raw(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """HOST:PORT of a server that reads a request's head and leaves the rest to `answer`."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            begun = await reader.readexactly(1)
            while begun != _TLS and await reader.readuntil(b"\r\n\r\n"):  # and not closed before the client closes
                await answer(writer)
        writer.transport.abort()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.ensure_future(serve(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        if serving:
            await asyncio.wait(serving, timeout=10)


async def test_a_head_that_trickles_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_, "CONNECT", 0.1)
    impatient = Registry(Blobs(tmp_path), Settings(attempts=1), stall=0.2)

    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw(trickle) as host:
        reference = parse(f"{host}/a/b:1")
        with pytest.raises(Unavailable, match=r"Client\.Timeout exceeded while awaiting headers"):
            await impatient.manifest(impatient.repository(reference, None), reference)
        await impatient.close()


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 xyz\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000,
     b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000],
)  # fmt: skip
async def test_what_is_no_answer_is_reported(client: Registry, answer: bytes) -> None:
    async def junk(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with raw(junk) as host:
        reference = parse(f"{host}/a/b:1")
        with pytest.raises(Failed, match="malformed HTTP response"):
            await client.manifest(client.repository(reference, None), reference)


async def test_a_byte_for_each_connection_is_no_progress(
    client: Registry, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt got further, so that none counted: one blob held one of the few downloads until its last byte."""
    monkeypatch.setattr(repository_, "LEAST", 1e9)

    async def one_byte(request: web.Request) -> web.StreamResponse:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        answer = web.StreamResponse(status=206 if start else 200)
        answer.headers["Content-Range"] = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        answer.headers["Content-Length"] = str(len(DATA) - start)
        await answer.prepare(request)
        await answer.write(DATA[start : start + 1])
        assert request.transport is not None
        request.transport.close()
        return answer

    server.before = one_byte
    with pytest.raises((Failed, Unavailable)):
        await blob(client, server)
    assert len([request for request in server.requests if "blobs" in request.path]) == 5


async def test_interim_answers_without_end(tmp_path: Path) -> None:
    """aiohttp reads them for as long as they come; they kept the event loop busy for a minute and a half."""
    given_up = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                await writer.drain()
        except ConnectionError:
            given_up.set()
        finally:
            writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    host = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    asked = Registry(Blobs(tmp_path), Settings(attempts=1), pause=0.01)
    try:
        with pytest.raises((Failed, Unavailable), match="interim answers without end"):
            await asyncio.wait_for(
                asked.tags(asked.repository(parse(f"{host}/a/b:1"), None), parse(f"{host}/a/b:1")), 30
            )
        await asyncio.wait_for(given_up.wait(), 30)
    finally:
        await asked.close()
        listener.close()
