"""The codecs of streams, and addresses for them."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import struct
from contextlib import suppress
from typing import Any, cast

import pytest

from corten.aio import taking
from corten.cri.daemon import Daemon
from corten.cri.streaming import channels, forwarding, server, sessions, spdy, websocket
from corten.cri.streaming.tokens import Tokens
from corten.errors import Exhausted, Invalid, NotFound
from spdy_client import Client, control


@pytest.mark.parametrize("at_once", [1, 7, 1 << 20])
def test_streams_are_opened_answered_and_ended(at_once: int) -> None:
    client, server = Client(), spdy.Frames()
    first, opened = client.open({"streamType": "stdin", "x": "y" * 300})
    second, more = client.open({"streamtype": "stdout"})
    sent = opened + more + client.data(first, b"in") + client.data(first, b"", end=True) + control(6, b"\0\0\0\7")
    events = [event for at in range(0, len(sent), at_once) for event in server.receive(sent[at : at + at_once])]
    assert events == [
        spdy.Opened(first, {"streamtype": "stdin", "x": "y" * 300}, False),
        spdy.Opened(second, {"streamtype": "stdout"}, False),
        spdy.Data(first, b"in", False),
        spdy.Data(first, b"", True),
        spdy.Ping(7),
    ]
    long = b"z" * (spdy.PIECE + 1)
    answer = server.reply(first) + server.reply(second) + server.data(second, long, end=True) + server.pong(7)
    frames = client.receive(answer)
    assert [(f.kind, f.stream, f.flags) for f in frames[:2]] == [(2, first, 0), (2, second, 0)]
    assert b"".join(f.body for f in frames[2:4]) == long and [f.flags for f in frames[2:4]] == [0, 1]
    assert frames[4].kind == 6


@pytest.mark.parametrize(
    "data",
    [
        (1).to_bytes(4, "big") + b"\0\xff\xff\xff",
        control(1, (1).to_bytes(4, "big") + bytes(6) + b"no zlib"),
        b"\x80\x02\0\1\0\0\0\4" + bytes(4),
        Client().open({"a": "b" * (1 << 17)})[1],
    ],
)
def test_what_is_no_spdy_or_too_much(data: bytes) -> None:
    with pytest.raises(Invalid):
        list(spdy.Frames().receive(data))


def test_headers_that_end_in_the_middle() -> None:
    import zlib

    packed = zlib.compressobj(zdict=spdy.DICTIONARY)
    block = packed.compress((1 << 31).to_bytes(4, "big") + b"\0\0\0\1a") + packed.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(Invalid, match="in the middle"):
        list(spdy.Frames().receive(control(1, (1).to_bytes(4, "big") + bytes(6) + block)))


def masked(data: bytes, kind: int = websocket.BINARY, final: bool = True) -> bytes:
    mask = b"\1\2\3\4"
    size = len(data)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    return bytes([(0x80 if final else 0) | kind]) + length + mask + body


@pytest.mark.parametrize("at_once", [1, 1 << 20])
def test_messages_of_websockets(at_once: int) -> None:
    sent = masked(b"a" * 200) + masked(b"be", final=False) + masked(b"ping", websocket.PING) + masked(b"hind", 0)
    messages = websocket.Messages()
    found = [m for at in range(0, len(sent), at_once) for m in messages.receive(sent[at : at + at_once])]
    assert found == [(websocket.BINARY, b"a" * 200), (websocket.PING, b"ping"), (websocket.BINARY, b"behind")]
    assert websocket.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "RFC 6455, section 1.3"
    assert websocket.frame(b"x" * 126)[:4] == b"\x82\x7e\0\x7e"


@pytest.mark.parametrize(
    "data",
    [
        b"\x82\x01x",  # without a mask
        b"\xc2\x81\0\0\0\0x",  # an extension
        b"\x82\xff" + (1 << 40).to_bytes(8, "big"),
        masked(b"x", 0),
        masked(b"x", final=False) + masked(b"y"),
        masked(b"x" * 126, websocket.PING),
        masked(b"x", websocket.PING, final=False),
    ],
)
def test_what_is_no_message_or_too_much(data: bytes) -> None:
    with pytest.raises(Invalid):
        list(websocket.Messages().receive(data))


def test_an_address_is_used_once_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("corten.cri.streaming.tokens.time.monotonic", lambda: now[0])
    tokens: Tokens[str] = Tokens()
    first, second = tokens.put("one"), tokens.put("two")
    assert len(first) >= 32 and tokens.take(first) == "one"
    for token in (first, "", "never"):
        with pytest.raises(NotFound):
            tokens.take(token)
    now[0] = 61.0
    with pytest.raises(NotFound):
        tokens.take(second)
    for _ in range(1000):
        tokens.put("more")
    with pytest.raises(Exhausted):
        tokens.put("too many")
    now[0] = 200.0
    tokens.put("room again")


async def test_connections_that_say_nothing_keep_no_stream_from_those_that_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every user of the machine can connect to where streams are."""
    monkeypatch.setattr(server, "_MOST_SILENT", 4)
    monkeypatch.setattr(server, "_MOST", 4)
    served: list[str] = []

    class Forwarding:
        def __init__(self, _: object, pod: str, *__: object) -> None:
            self.pod = pod

        async def run(self) -> None:
            served.append(self.pod)

    monkeypatch.setattr(server, "Forwarding", Forwarding)
    streaming = server.Streaming(cast(Any, None), "127.0.0.1", 0)
    await streaming.open()
    url = streaming.url(server.Ports("pod", (80,)))
    port, path = int(url.split(":")[2].split("/")[0]), url.partition("/portforward")[2]
    silent = []
    try:
        for _ in range(12):
            silent.append(await asyncio.open_connection("127.0.0.1", port))
        for reader, _ in silent[:8]:
            assert await asyncio.wait_for(reader.read(), 20) == b"", "the oldest have ended"
        head = f"GET /portforward{path} HTTP/1.1\r\nUpgrade: SPDY/3.1\r\n\r\n".encode()
        for request, answer in ((head, b"101 "), (head, b"404 ")):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            silent.append((reader, writer))
            writer.write(request)
            assert answer in await asyncio.wait_for(reader.read(), 20)
        assert served == ["pod"]
    finally:
        for _, writer in silent:
            writer.close()
        await streaming.close()


async def test_connections_without_a_descriptor_for_them_wait(caplog: pytest.LogCaptureFixture) -> None:
    """And are said once, not with a traceback for each some hundred times a second: every user can connect."""
    streaming = server.Streaming(cast(Any, None), "127.0.0.1", 0)
    await streaming.open()
    where = ("127.0.0.1", int(streaming.url(server.Ports("pod", (80,))).split(":")[2].split("/")[0]))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [socket.create_connection(where) for _ in range(5)]
    taken = [os.dup(0) for _ in range(max(map(int, os.listdir("/proc/self/fd"))))]  # no gap is left below the limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    try:
        async with asyncio.timeout(60):
            while not caplog.records:
                await asyncio.sleep(0.001)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
    for client in clients:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(client, b"\r\n\r\n")
        answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 100), 60)
        assert answer.startswith(b"HTTP/1.1 400 ")
        client.close()
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "cannot take connections, which wait until there is room again: Too many open files"
    ]
    await streaming.close()


async def ends() -> tuple[socket.socket, tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's end, and ours."""
    client, ours = socket.socketpair()
    client.setblocking(False)
    return client, await asyncio.open_connection(sock=ours)


async def refused_while_sending(client: socket.socket, data: bytes) -> None:
    """Sent for as long as it is taken."""
    try:
        while True:
            await asyncio.get_running_loop().sock_sendall(client, data)
    except ConnectionError:
        pass


@pytest.mark.parametrize("size", [0, 1, 1000])
async def test_input_ahead_of_streams_is_bounded(size: int) -> None:
    """A client that opens one stream of several, and sends what it likes."""
    client, (reader, writer) = await ends()
    spoken = Client()
    stream, opened = spoken.open({"streamtype": "stdin"})
    made = channels.SpdyChannels(reader, writer, {channels.STDIN, channels.STDOUT})
    data = opened + b"".join(spoken.data(stream, b"x" * size, end=not size) for _ in range(1000))
    sending = asyncio.ensure_future(refused_while_sending(client, data[len(opened) :]))
    await asyncio.get_running_loop().sock_sendall(client, opened)
    with pytest.raises(Invalid, match="sends to others"):
        await asyncio.wait_for(made.open(), 60)
    writer.close()
    await sending
    client.close()


async def test_a_client_that_pings_and_reads_nothing_is_read_no_more() -> None:
    client, (reader, writer) = await ends()
    made = channels.SocketChannels(reader, writer, "v5.channel.k8s.io")
    taking = asyncio.ensure_future(anext(made.receive()))
    sending = asyncio.ensure_future(refused_while_sending(client, masked(b"x" * 125, websocket.PING) * 500))
    async with asyncio.timeout(60):
        while not writer.transport.get_write_buffer_size():
            await asyncio.sleep(0.001)
    for _ in range(100):
        await asyncio.sleep(0.001)
        assert writer.transport.get_write_buffer_size() < 1 << 19
    assert not sending.done()
    for task in (taking, sending):
        task.cancel()
    await asyncio.wait([taking, sending])
    writer.close()
    client.close()


async def test_an_end_that_is_not_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "_LAST", 0.01)
    client, (reader, writer) = await ends()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            while True:
                writer.write(b"x" * (1 << 16))
                await writer.drain()
    spdies = channels.SpdyChannels(reader, writer, set())
    spdies._streams[channels.ERROR] = 1
    for made in (spdies, channels.SocketChannels(reader, writer, "v5.channel.k8s.io")):
        await asyncio.wait_for(made.finish(b"{}"), 60)
    writer.transport.abort()
    client.close()


async def test_what_a_pod_does_not_take_is_bounded_and_gone_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In all connections of a client together; and one that is gone holds up no other."""
    monkeypatch.setattr(forwarding, "_WAITING", 1 << 16)
    pods: list[socket.socket] = []

    class Pods:
        async def dial(self, pod: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            pod_end, ours = await ends()
            pods.append(pod_end)
            return ours

    client, (reader, writer) = await ends()
    made = forwarding.Forwarding(cast(Daemon, Pods()), "pod", (), forwarding.Plain(reader, writer))
    running = asyncio.ensure_future(made.run())
    spoken, streams, loop = Client(), list[int](), asyncio.get_running_loop()
    for id in "abc":
        for kind in ("error", "data"):
            stream, data = spoken.open({"streamtype": kind, "requestid": id, "port": "80"})
            await loop.sock_sendall(client, data)
        streams.append(stream)
    pieces = [spoken.data(stream, b"x" * 10_000) for stream in streams[:2]] * 1000
    sending = asyncio.ensure_future(loop.sock_sendall(client, b"".join(pieces)))
    async with asyncio.timeout(60):
        while len(pods) < 3 or made._waiting._room.is_set():
            await asyncio.sleep(0.001)
    assert made._waiting._bytes < 1 << 17 and not sending.done()
    pods[0].close()
    pods[1].close()
    await asyncio.wait_for(sending, 60)
    await loop.sock_sendall(client, spoken.data(streams[2], b"still here"))
    assert await asyncio.wait_for(loop.sock_recv(pods[2], 100), 60) == b"still here"
    assert made._waiting._bytes == 0
    running.cancel()
    await asyncio.wait([running])
    writer.close()
    for end in (client, pods[2]):
        end.close()


async def test_connections_that_end_before_they_have_begun_leave_nothing() -> None:
    """One reset as soon as it is open, one of which only half is, and one that never is and is sent to."""

    class Pods:
        async def dial(self, pod: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            raise AssertionError("nothing is left to be connected")

    client, (reader, writer) = await ends()
    made = forwarding.Forwarding(cast(Daemon, Pods()), "pod", (), forwarding.Plain(reader, writer))
    spoken, loop = Client(), asyncio.get_running_loop()

    def opened(id: str, *kinds: str) -> tuple[int, bytes]:
        pieces = [spoken.open({"streamtype": kind, "requestid": id, "port": "80"}) for kind in kinds]
        return pieces[-1][0], b"".join(data for _, data in pieces)

    running = asyncio.ensure_future(made.run())
    whole, data = opened("a", "error", "data")
    half, more = opened("b", "data")
    reset = struct.pack(">HHIII", 0x8003, 3, 8, whole, 5), struct.pack(">HHIII", 0x8003, 3, 8, half, 5)
    await loop.sock_sendall(client, data + spoken.data(whole, b"x" * 10_000) + reset[0])
    await loop.sock_sendall(client, more + spoken.data(half, b"x" * 10_000) + reset[1])
    never, data = opened("c", "data")
    await loop.sock_sendall(client, data)
    async with asyncio.timeout(60):
        while list(made._pairs) != ["c"]:
            await asyncio.sleep(0.001)
    assert made._waiting._bytes == 0
    sending = asyncio.ensure_future(refused_while_sending(client, spoken.data(never, b"x" * 10_000)))
    with pytest.raises(Invalid, match="has not opened"):
        await asyncio.wait_for(running, 60)
    writer.close()
    await sending
    client.close()


class Pods:
    """Programs that read nothing. `ends` are theirs, of what a client has been connected to."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []
        self.ours: list[Any] = []  # the other ends

    async def dial(self, pod: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        end, ours = await ends()
        self.ends.append(end)
        self.ours.append(ours[1].get_extra_info("socket"))
        return ours

    async def closed(self) -> None:
        """Ours are, though nothing has read what was written to them."""
        async with asyncio.timeout(60):
            while any(sock.fileno() >= 0 for sock in self.ours):
                await asyncio.sleep(0.001)

    async def upgrade(self, path: str, body: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self.dial("", 0)


async def sent_until_it_is_not_taken(client: socket.socket, data: bytes) -> None:
    """And until nothing of it has been taken for long enough that the other side has stopped for good."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            async with asyncio.timeout(1):
                await loop.sock_sendall(client, data)
        except TimeoutError:
            return


async def test_a_port_forward_that_nothing_takes_ends_with_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_WAITING", 1 << 16)
    monkeypatch.setattr(taking, "_PATIENCE", 0.01)
    pods = Pods()
    client, (reader, writer) = await ends()
    made = forwarding.Forwarding(cast(Daemon, pods), "pod", (), forwarding.Plain(reader, writer))
    running = asyncio.ensure_future(made.run())
    spoken, stream = Client(), 0
    for kind in ("error", "data"):
        stream, data = spoken.open({"streamtype": kind, "requestid": "a", "port": "80"})
        await asyncio.get_running_loop().sock_sendall(client, data)
    await sent_until_it_is_not_taken(client, spoken.data(stream, b"x" * 10_000) * 100)
    assert not running.done()
    client.close()
    with suppress(ConnectionError):
        await asyncio.wait_for(running, 60)
    assert made._waiting._bytes == 0
    await pods.closed()
    writer.close()
    for end in pods.ends:
        end.close()


@pytest.mark.parametrize("kind", ["spdy", "websocket"])
async def test_input_that_nothing_takes_ends_with_its_client(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(taking, "_PATIENCE", 0.01)
    pods = Pods()
    client, (reader, writer) = await ends()
    loop, spoken = asyncio.get_running_loop(), Client()
    made: channels.Channels
    if kind == "spdy":
        made = channels.SpdyChannels(reader, writer, {channels.STDIN})
        stream, opened = spoken.open({"streamtype": "stdin"})
        await loop.sock_sendall(client, opened)
        await made.open()
        data = spoken.data(stream, b"x" * 10_000)
    else:
        made, data = channels.SocketChannels(reader, writer, "v5.channel.k8s.io"), masked(b"\0" + b"x" * 10_000)
    ended: list[ConnectionError] = []

    async def seen(*what: Any) -> None:
        try:
            await taking.taken(*what)
        except ConnectionError as error:
            ended.append(error)
            raise

    monkeypatch.setattr(sessions, "taken", seen)
    session = sessions.Session("container", stdin=True, stdout=True)
    running = asyncio.ensure_future(session.run(cast(Daemon, pods), made))
    await sent_until_it_is_not_taken(client, data * 100)
    assert not running.done()
    client.close()
    with suppress(ConnectionError):
        await asyncio.wait_for(running, 60)
    assert len(ended) <= 1, "nothing more of it is tried"
    await pods.closed()
    writer.close()
    for end in pods.ends:
        end.close()


@pytest.mark.parametrize(
    "size", [b'{"Width": 1e999, "Height": 1}', b"[" * 100_000, b'{"Width": null, "Height": 1}', b"9" * 10_000]
)
async def test_a_size_of_a_terminal_that_is_none_changes_nothing(size: bytes) -> None:
    await sessions._resize(cast(Daemon, None), "/exec/id", size)
