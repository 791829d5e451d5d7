"""GET /containers/ID/attach/ws: what a websocket carries, and how each side ends it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from corten.aio import taking
from corten.api import websockets
from fakes.daemon import Connection, Daemon

ALL = "stream=1&stdin=1&stdout=1&stderr=1"
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


class World:
    def __init__(self, daemon: Daemon, session: aiohttp.ClientSession) -> None:
        self.daemon, self._session = daemon, session

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self._session.request(method, f"http://docker{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json() if answer.content_type == "application/json" else await answer.text()

    async def made(self, *command: str, **config: Any) -> None:
        body = {"Image": "test", "Cmd": list(command), "OpenStdin": True, **config}
        await self.ask("POST", "/containers/create?name=box", body)

    async def started(self, *command: str, **config: Any) -> None:
        await self.made(*command, **config)
        await self.ask("POST", "/containers/box/start")

    async def attach(self, query: str = ALL, version: str = "1.41") -> ClientWebSocketResponse:
        return await self._session.ws_connect(f"http://docker/v{version}/containers/box/attach/ws?{query}")

    async def status(self) -> int:
        code: int = (await self.ask("POST", "/containers/box/wait"))["StatusCode"]
        return code


@pytest.fixture
async def world(daemon: Daemon) -> AsyncIterator[World]:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(daemon.socket)) as session:
        yield World(daemon, session)


async def until(socket: ClientWebSocketResponse, kind: WSMsgType, text: str) -> None:
    """Messages of this kind, until their text ends so."""
    seen = ""
    while not seen.endswith(text):
        piece = await socket.receive(10)
        assert piece.type is kind, (piece, seen)
        seen += piece.data.decode() if kind is WSMsgType.BINARY else piece.data


async def end(socket: ClientWebSocketResponse) -> tuple[bytes, int]:
    """All that is left, and the code that closes it."""
    seen = b""
    while (piece := await socket.receive(10)).type is WSMsgType.BINARY:
        seen += piece.data
    assert piece.type is WSMsgType.CLOSE
    code: int = piece.data
    return seen, code


@pytest.mark.parametrize(("version", "kind"), [("1.27", WSMsgType.TEXT), ("1.28", WSMsgType.BINARY)])
async def test_both_ways(world: World, version: str, kind: WSMsgType) -> None:
    await world.started("cat")
    socket = await world.attach(version=version)
    await socket.send_str("text\n")
    await until(socket, kind, "text\n")
    await socket.send_bytes("bytes é\n".encode())
    await until(socket, kind, "bytes é\n")
    await world.ask("POST", "/containers/box/kill")
    assert (await socket.receive(10)).data == 1000


async def test_attached_before_the_start(world: World) -> None:
    await world.made("sh", "-c", "echo out; echo err >&2; read a; echo got $a")
    socket = await world.attach()
    await world.ask("POST", "/containers/box/start")
    await socket.send_str("line\n")
    seen, code = await end(socket)
    assert (sorted(seen.splitlines()), code) == ([b"err", b"got line", b"out"], 1000)
    assert await world.status() == 0


@pytest.mark.parametrize(
    ("query", "expected"), [("stdout=1", b"out\n"), ("stderr=1", b"err\n"), ("", b""), ("stdin=1", b"")]
)
async def test_streams_that_were_asked_for(world: World, query: str, expected: bytes) -> None:
    await world.made("sh", "-c", "echo out; echo err >&2")
    socket = await world.attach(f"stream=1&{query}")
    await world.ask("POST", "/containers/box/start")
    assert await end(socket) == (expected, 1000)


async def test_input_that_was_not_asked_for(world: World) -> None:
    await world.started("cat")
    socket, other = await world.attach("stream=1&stdout=1"), await world.attach()
    for _ in range(20):
        await socket.send_bytes(b"x" * 100_000)  # none of which goes anywhere, or is in the way
    await other.send_str("mine\n")
    await until(socket, WSMsgType.BINARY, "mine\n")
    await socket.close()
    await other.close()


async def test_a_large_message(world: World) -> None:
    """dockerd takes one of any size."""
    size = 20 << 20
    await world.started("sh", "-c", f"head -c {size} | wc -c; exec cat")
    socket = await world.attach()
    await socket.send_bytes(bytes(size - 1))
    await socket.send_str("x")
    await until(socket, WSMsgType.BINARY, f"{size}\n")
    await socket.close()


async def test_a_message_that_is_too_large(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends its own connection, and nothing of it arrives."""
    monkeypatch.setattr(websockets, "LARGEST", 1000)
    await world.started("cat")
    socket, other = await world.attach(), await world.attach()
    await socket.send_bytes(b"y" * 999 + b"\n")
    await until(other, WSMsgType.BINARY, "y\n")
    await socket.send_bytes(b"z" * 1001)
    seen, code = await end(socket)
    assert (seen, code) == (b"y" * 999 + b"\n", 1009)
    await other.send_str("mine\n")
    await until(other, WSMsgType.BINARY, "mine\n")
    await other.close()


async def test_past_output(world: World) -> None:
    """More of it than the buffers between the daemon and itself hold."""
    await world.started("sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; echo err >&2")
    assert await world.status() == 0
    seen, code = await end(await world.attach("logs=1&stdout=1"))
    lines = seen.split()
    assert (lines.index(b"19999") > 19_000, len(lines), code) == (True, 20_001, 1000)


async def test_text_is_whole_characters(world: World) -> None:
    await world.made("sh", "-c", r"printf '\303'; read a; printf '\251\n'; printf '\377.\n'")
    socket = await world.attach(version="1.27")
    await world.ask("POST", "/containers/box/start")
    await socket.send_str("\n")
    await until(socket, WSMsgType.TEXT, "é\n\ufffd.\n")
    await socket.receive(10)


@pytest.mark.parametrize("how", ["close", "end", "vanish"])
async def test_the_client_ends_it(world: World, how: str) -> None:
    """The program has the end of its input then, and the daemon nothing that is left of it."""
    await world.started("cat", StdinOnce=True)
    before = len(os.listdir("/proc/self/fd"))
    socket = await world.attach()
    await socket.send_str("text\n")
    await until(socket, WSMsgType.BINARY, "text\n")
    transport = socket.get_extra_info("socket")
    if how == "close":
        await socket.close()
        assert socket.close_code == 1000
    elif how == "end":
        transport.shutdown(1)
    else:
        socket._response.connection.transport.abort()  # type: ignore[union-attr]
    assert await world.status() == 0
    await socket.close()
    while len(os.listdir("/proc/self/fd")) > before:
        await asyncio.sleep(0)


async def test_a_client_leaves_and_the_program_takes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what it sent nor its connection stays with the daemon."""
    monkeypatch.setattr(taking, "_PATIENCE", 0.01)
    await world.started("sleep", "1000")
    before = len(os.listdir("/proc/self/fd"))
    socket = await world.attach()
    with pytest.raises(TimeoutError):
        while True:
            async with asyncio.timeout(1):
                await socket.send_bytes(bytes(100_000))
    socket._response.connection.transport.abort()  # type: ignore[union-attr]
    await socket.close()
    async with asyncio.timeout(60):
        while len(os.listdir("/proc/self/fd")) > before:
            await asyncio.sleep(0.001)
    await world.ask("POST", "/containers/box/kill")


async def test_what_is_no_websocket(world: World, http: Connection) -> None:
    await world.started("cat")
    status, answer = http.ask("GET", f"/containers/box/attach/ws?{ALL}")
    assert (status, answer["message"]) == (400, "not websocket protocol")
    assert http.ask("GET", "/containers/nosuch/attach/ws", **UPGRADE)[0] == 404


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("nosuch/attach/ws", {}, 404),
        ("box/attach/ws?detachKeys=zz-zz", {}, 400),
        ("box/attach/ws", {"Origin": "http://elsewhere"}, 403),
        ("box/attach/ws", {"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_what_is_refused(world: World, http: Connection, path: str, headers: dict[str, str], status: int) -> None:
    await world.started("cat")
    assert http.ask("GET", f"/containers/{path}", **{**UPGRADE, **headers})[0] == status
