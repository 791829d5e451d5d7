"""Exec, attach and port-forward as Kubernetes' clients do them: over WebSockets and over SPDY."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from corten.spec.protobuf import cri
from e2e_parts.cortend import Cortend, short_root
from e2e_parts.patience import PATIENCE
from e2e_parts.pods import Face, container_config, faced, own_network, pod_config
from spdy_client import Client, Frame

_HANDSHAKE = (
    "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    "X-Stream-Protocol-Version: {protocol}\r\n\r\n"
)


@pytest.fixture(scope="module")
def face() -> Iterator[Face]:
    with short_root() as root, Cortend(root, "--config-file", str(own_network(root))) as daemon:
        daemon.start()
        with faced(daemon, root) as made:
            yield made


class Spdy:
    """A connection, and what came on it by stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.client = reader, writer, Client()
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def open(self, **headers: str) -> int:
        stream, frame = self.client.open(headers)
        self.writer.write(frame)
        return stream

    def send(self, stream: int, data: bytes, end: bool = False) -> None:
        self.writer.write(self.client.data(stream, data, end))

    async def until_ended(self, *streams: int) -> None:
        await self.until(lambda: self.ended.issuperset(streams))

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not done():
                received = await self.reader.read(65536)
                assert received, "it was closed before its end"
                for frame in self.client.receive(received):
                    self._take(frame)

    def _take(self, frame: Frame) -> None:
        assert frame.kind in (0, 2), frame
        if frame.kind == 0:
            self.data[frame.stream] = self.data.get(frame.stream, b"") + frame.body
            if frame.flags:
                self.ended.add(frame.stream)


@asynccontextmanager
async def spdy(url: str, protocol: str = "v4.channel.k8s.io") -> AsyncIterator[Spdy]:
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(_HANDSHAKE.format(path=where.path, protocol=protocol).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head + await reader.read(500)
        assert f"X-Stream-Protocol-Version: {protocol}".encode() in head
        yield Spdy(reader, writer)
    finally:
        writer.close()


async def running(face: Face, name: str, *words: str, **more: Any) -> tuple[str, str]:
    pod = await face.pod(pod_config(face, name))
    asked = container_config(*words)
    for key, value in more.items():
        setattr(asked, key, value)
    return pod, await face.container(pod, asked)


async def exec_url(face: Face, container: str, *words: str, **flags: bool) -> str:
    request = cri.ExecRequest(container, list(words), **flags)
    return (await face.ask("Exec", request, cri.ExecResponse)).url


async def test_exec_over_spdy(face: Face) -> None:
    pod, container = await running(face, "spdy", "sleep", "1000")
    script = "cat; echo err >&2; exit 3"
    url = await exec_url(face, container, "sh", "-c", script, stdin=True, stdout=True, stderr=True)
    async with spdy(url) as connection:
        error, into = connection.open(streamtype="error"), connection.open(streamtype="stdin")
        out, err = connection.open(streamtype="stdout"), connection.open(streamtype="stderr")
        sent = b"0123456789" * 20_000
        connection.send(into, sent[:100_000])
        connection.send(into, sent[100_000:], end=True)
        await connection.until_ended(error, out, err)
        assert connection.data[out] == sent and connection.data[err] == b"err\n"
        status = json.loads(connection.data[error])
        assert status["reason"] == "NonZeroExitCode" and status["details"]["causes"][0]["message"] == "3"
    async with aiohttp.ClientSession() as session, session.get(url) as again:
        assert again.status == 404, "an address is used once"
    await face.remove(pod)


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_a_terminal_over_a_websocket(face: Face, protocol: str) -> None:
    pod, container = await running(face, protocol[:2], "sleep", "1000")
    script = "while ! stty size | grep -q '40 100'; do sleep 0.02; done; stty size; read x; echo got $x; exit 0"
    url = await exec_url(face, container, "sh", "-c", script, tty=True, stdin=True, stdout=True)
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=[protocol]) as socket:
        assert socket.protocol == protocol
        await socket.send_bytes(b"\x04" + json.dumps({"Width": 100, "Height": 40}).encode())
        await socket.send_bytes(b"\x00hello\r")
        seen = dict.fromkeys(range(5), b"")
        async for message in socket:
            assert message.type is aiohttp.WSMsgType.BINARY
            seen[message.data[0]] += message.data[1:]
        assert b"40 100" in seen[1] and b"got hello" in seen[1]
        assert json.loads(seen[3])["status"] == "Success"
    await face.remove(pod)


@pytest.mark.parametrize("protocol", ["channel.k8s.io", "v4.base64.channel.k8s.io", "base64.channel.k8s.io"])
async def test_older_protocols(face: Face, protocol: str) -> None:
    pod, container = await running(face, "older", "sleep", "1000")
    script = "read x; echo got $x; echo err >&2; exit 3"
    url = await exec_url(face, container, "sh", "-c", script, stdin=True, stdout=True, stderr=True)
    seen = dict.fromkeys(range(5), b"")
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=[protocol]) as socket:
        assert socket.protocol == protocol
        if "base64" not in protocol:
            await socket.send_bytes(b"\0one\n")
            async for message in socket:
                seen[message.data[0]] += message.data[1:]
        else:
            await socket.send_str("0" + base64.b64encode(b"one\n").decode())
            async for message in socket:
                assert message.type is aiohttp.WSMsgType.TEXT
                seen[int(message.data[0])] += base64.b64decode(message.data[1:], validate=True)
    assert seen[1] == b"got one\n" and seen[2] == b"err\n"
    assert json.loads(seen[3])["details"]["causes"][0]["message"] == "3"
    await face.remove(pod)


async def test_they_go_on_when_the_daemon_is_killed(face: Face) -> None:
    """An exec, what is attached, and a connection to a port: no byte is lost, and the exit code is known."""
    script = "nc -l -p 8080 -e cat & read x; echo got $x; read x; echo got $x; sleep 1000"
    pod, container = await running(face, "goes-on", "sh", "-c", script, stdin=True)
    await face.run(container, "sh", "-c", "until cat /proc/net/tcp* | grep -q ':1F90 .* 0A '; do sleep 0.02; done")
    executed = await exec_url(
        face, container, "sh", "-c", "read x; echo got $x; read x; exit $x", stdin=True, stdout=True
    )
    asked = cri.AttachRequest(container, stdin=True, stdout=True, stderr=True)
    attached = (await face.ask("Attach", asked, cri.AttachResponse)).url
    ports = (await face.ask("PortForward", cri.PortForwardRequest(pod, [8080]), cri.PortForwardResponse)).url
    async with aiohttp.ClientSession() as session, AsyncExitStack() as open_ones:
        sockets = [
            await open_ones.enter_async_context(session.ws_connect(url, protocols=["v5.channel.k8s.io"]))
            for url in (executed, attached)
        ]
        forwarded = await open_ones.enter_async_context(spdy(ports, "portforward.k8s.io"))
        error = forwarded.open(streamtype="error", port="8080", requestid="0")
        data = forwarded.open(streamtype="data", port="8080", requestid="0")
        forwarded.send(data, b"before ")
        await forwarded.until(lambda: forwarded.data.get(data) == b"before ")
        for socket in sockets:
            await socket.send_bytes(b"\0before\n")
            assert (await socket.receive()).data == b"\1got before\n"
        await asyncio.to_thread(face.daemon.restart_killed)
        forwarded.send(data, b"after", end=True)
        await forwarded.until_ended(data, error)
        assert forwarded.data[data] == b"before after" and forwarded.data[error] == b""
        await sockets[1].send_bytes(b"\0after\n")
        assert (await sockets[1].receive()).data == b"\1got after\n"
        await sockets[0].send_bytes(b"\0 5\n")
        message = await sockets[0].receive()
        assert json.loads(message.data[1:])["details"]["causes"][0]["message"] == "5"
    await face.remove(pod)


async def test_attaching(face: Face) -> None:
    script = "read x; echo got $x; read y; echo then $y >&2; sleep 1000"
    pod, container = await running(face, "attach", "sh", "-c", script, stdin=True)
    request = cri.AttachRequest(container, stdin=True, stdout=True, stderr=True)
    url = (await face.ask("Attach", request, cri.AttachResponse)).url
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=["v5.channel.k8s.io"]) as socket:
        await socket.send_bytes(b"\x00one\n")
        assert (await socket.receive()).data == b"\x01got one\n"
        await socket.send_bytes(b"\x00two\n")
        assert (await socket.receive()).data == b"\x02then two\n"
    assert (await face.status(container)).state == cri.State.RUNNING, "it goes on without its client"
    await face.remove(pod)


async def test_ports_over_spdy(face: Face) -> None:
    script = "while true; do printf 'seen' | nc -l -p 8080; done"
    pod, container = await running(face, "ports", "sh", "-c", script)
    await face.run(container, "sh", "-c", "until cat /proc/net/tcp* | grep -q ':1F90 .* 0A '; do sleep 0.02; done")
    url = (await face.ask("PortForward", cri.PortForwardRequest(pod, [8080]), cri.PortForwardResponse)).url
    async with spdy(url, "portforward.k8s.io") as connection:
        error = connection.open(streamtype="error", port="8080", requestid="0")
        data = connection.open(streamtype="data", port="8080", requestid="0")
        connection.send(data, b"hello", end=True)
        await connection.until_ended(data, error)
        assert connection.data[data] == b"seen" and connection.data[error] == b""
    url = (await face.ask("PortForward", cri.PortForwardRequest(pod, [1]), cri.PortForwardResponse)).url
    async with spdy(url, "portforward.k8s.io") as connection:
        error = connection.open(streamtype="error", port="1", requestid="0")
        data = connection.open(streamtype="data", port="1", requestid="0")
        await connection.until_ended(data, error)
        assert b"cannot connect to port 1" in connection.data[error]
    await face.remove(pod)


async def test_ports_over_a_websocket(face: Face) -> None:
    """The same SPDY in its messages, wherever they are cut."""
    script = "while true; do nc -l -p 8080 -e cat; done"
    pod, container = await running(face, "tunnel", "sh", "-c", script)
    await face.run(container, "sh", "-c", "until cat /proc/net/tcp* | grep -q ':1F90 .* 0A '; do sleep 0.02; done")
    url = (await face.ask("PortForward", cri.PortForwardRequest(pod, [8080]), cri.PortForwardResponse)).url
    client, tunnel, got, ended = Client(), "SPDY/3.1+portforward.k8s.io", b"", set[int]()
    error, opening = client.open({"streamtype": "error", "port": "8080", "requestid": "0"})
    data, more = client.open({"streamtype": "data", "port": "8080", "requestid": "0"})
    sent = opening + more + client.data(data, b"x" * 100_000) + client.data(data, b"", end=True)
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=[tunnel]) as socket:
        assert socket.protocol == tunnel
        for at in range(0, len(sent), 999):
            await socket.send_bytes(sent[at : at + 999])
        async with asyncio.timeout(PATIENCE):
            while ended != {error, data}:
                for frame in client.receive((await socket.receive()).data):
                    got += frame.body if (frame.kind, frame.stream) == (0, data) else b""
                    ended |= {frame.stream} if frame.kind == 0 and frame.flags else set()
    assert got == b"x" * 100_000
    await face.remove(pod)


async def test_what_is_no_request_for_a_stream(face: Face) -> None:
    pod, container = await running(face, "bad", "sleep", "1000")
    async with aiohttp.ClientSession() as session:
        base = (await exec_url(face, container, "true", stdout=True)).rpartition("/")[0]
        async with session.get(f"{base}/stolen") as answer:
            assert answer.status == 404
        async with session.get(await exec_url(face, container, "true", stdout=True)) as answer:
            assert answer.status == 400 and "SPDY/3.1" in await answer.text()
        url = await exec_url(face, container, "true", stdout=True)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url, protocols=["other.example"])
    where = urlsplit(await exec_url(face, container, "true", stdout=True))
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(b"x" * 100_000)
    with suppress(ConnectionError):  # of which it has not read all
        assert b"HTTP/1.1" in await reader.read() or reader.at_eof()
    writer.close()
    assert (await face.run(container, "echo", "still"))[0] == b"still\n"
    await face.remove(pod)
