"""What must stay true of aiohttp for `corten.http.heads`, on the API's connections and on the registry's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from corten.api.hijack import Connection
from corten.http import heads as http_heads
from corten.http.heads import BoundedHeads
from corten.registry.server.connection import RegistryConnection

PING = b"GET /ping HTTP/1.1\r\nHost: d\r\n\r\n"
ATTACH = b"POST /containers/x/attach HTTP/1.1\r\n"
KINDS: dict[str, type[BoundedHeads]] = {"api": Connection, "registry": RegistryConnection}


@pytest.fixture(params=KINDS)
async def path(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Where a server listens that answers with the length of each body, or, as refusals do, without reading it."""

    async def answer(asked: web.BaseRequest) -> web.StreamResponse:
        if "early" in asked.path:
            return web.Response(text="<early>", status=404)
        return web.Response(text=f"<{len(await asked.read())}>")

    server = web.Server(answer)
    kind = KINDS[request.param]

    def connection() -> BoundedHeads:
        return kind(server, loop=asyncio.get_running_loop(), access_log=None, max_field_size=1 << 20)

    listening = await asyncio.get_running_loop().create_unix_server(connection, str(tmp_path / "s"))
    yield str(tmp_path / "s")
    listening.close()
    await server.shutdown(1)


async def converse(path: str, *pieces: bytes, until: bytes = b"") -> bytes:
    """Everything that is answered until the server closes, or `until` came."""
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 22)
    async with asyncio.timeout(60):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            for _ in range(3):  # let the server read it by itself
                await asyncio.sleep(0)
        got = await (reader.readuntil(until) if until else reader.read())
    writer.close()
    return got


def message(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 ") and b"\r\nServer: Corten/" in head, head  # which is the last on its connection
    assert b"\r\nContent-Type: application/json" in head
    document = json.loads(body)
    text = document["message"] if "message" in document else document["errors"][0]["message"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("count", [33, 100, 3000])
async def test_pipelined_requests_are_all_answered(path: str, count: int) -> None:
    """aiohttp stops at 32 and goes on by feeding nothing; 3,000 are more than one read."""
    last = b"POST /last HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\nabc"
    assert (await converse(path, PING * count + last, until=b"<3>")).count(b"<0>") == count


@pytest.mark.parametrize("upgrade", ["tcp", "websocket", "h2c"])
@pytest.mark.parametrize("asked", ["/containers/early/attach", "/early"])
async def test_no_request_is_lost_behind_a_body_that_comes_after_its_answer(
    path: str, asked: str, upgrade: str
) -> None:
    """The connection ends with that answer: aiohttp would take a next request for the protocol that was asked for."""
    fields = f"Host: d\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\nContent-Length: 3\r\n\r\n"
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"POST {asked} HTTP/1.1\r\n{fields}".encode())
    async with asyncio.timeout(60):
        answer = await reader.readuntil(b"<early>")
        writer.write(b"abc")
        assert b"\r\nConnection: close\r\n" in answer and await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("connection", ["Upgrade", "Upgrade, HTTP2-Settings"])
@pytest.mark.parametrize("request_line", ["GET /zero HTTP/1.1", "POST /whole HTTP/1.1"])
async def test_a_protocol_that_there_is_not_ends_the_connection(path: str, request_line: str, connection: str) -> None:
    """As curl --http2 asks: aiohttp drops what comes behind in the same segment, so that its client would wait."""
    body = b"abc" if request_line.startswith("POST") else b""
    fields = f"Host: d\r\nConnection: {connection}\r\nUpgrade: h2c\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"{request_line}\r\n{fields}".encode() + body + PING)
    async with asyncio.timeout(60):
        answer = await reader.read()
    assert f"<{len(body)}>".encode() in answer and b"\r\nConnection: close\r\n" in answer
    writer.close()


async def test_a_head_may_come_apart_anywhere_behind_another(path: str) -> None:
    whole = PING + b"\r\nPOST /last HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\nabc"
    for at in range(1, len(whole)):
        assert (await converse(path, whole[:at], whole[at:], until=b"<3>")).count(b"<0>") == 1


@pytest.mark.parametrize(
    "junk",
    [b"hello\r\n\r\n", b"\0" * 100, b"SSH-2.0-OpenSSH\r\n", b"GET / HTTP/1.1\nHost: d\n\n", b"GET / HTTP/9\r\n",
     b"GET / HTTP/1.1\r\nHost d\r\n\r\n", ATTACH.replace(b"\r", b"") + b"Host: d\n\n"],
)  # fmt: skip
async def test_a_malformed_head_is_answered_without_waiting_for_its_end(path: str, junk: bytes) -> None:
    answer = await converse(path, junk)
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert message(answer).startswith("malformed HTTP request: ")


async def test_a_tls_handshake_gets_an_error(path: str) -> None:
    answer = await converse(path, b"\x16\x03\x01\x02\x00\x01\x00")
    assert message(answer) == "client sent a TLS handshake to a server that does not speak TLS here"


async def test_the_answer_to_junk_comes_behind_the_answers_before(path: str) -> None:
    answer = await converse(path, PING, b"junk junk\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200") and answer.count(b"HTTP/1.0 400 ") == 1


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\nHost:", ATTACH + b"Host:", b"P", b"POST /containers/"])
async def test_a_head_that_does_not_end_is_given_up(path: str, begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_heads, "HEAD_SECONDS", 0.05)
    answer = await converse(path, PING, begin)
    assert answer.startswith(b"HTTP/1.1 200")
    text = message(answer[answer.index(b"HTTP/1.0 408") :])
    assert text.startswith("the head of the request did not end within")


async def test_time_is_for_one_head_and_not_for_the_connection(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_heads, "HEAD_SECONDS", 0.05)
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 22)
    for _ in range(2):
        writer.write(PING[:10])
        await asyncio.sleep(0)
        writer.write(PING[10:] + b"\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"<0>"), 60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
    writer.close()


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\n", ATTACH])
async def test_a_head_is_bounded_as_a_whole(path: str, begin: bytes) -> None:
    """Not only each line: 128 lines of a megabyte are allowed by those bounds."""

    def send_and_read() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(path)
            sock.sendall(begin)
            with contextlib.suppress(BrokenPipeError):
                for number in range(30):
                    sock.sendall(b"X-%d: " % number + b"x" * 50_000 + b"\r\n")
            return sock.recv(4096)

    answer = await asyncio.to_thread(send_and_read)
    assert answer.startswith(b"HTTP/1.0 431 ") and message(answer).startswith("the head of the request is larger than")
