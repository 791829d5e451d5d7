"""What must stay true of aiohttp for `corten.api.hijack`: a connection is handed over whole, and to another thread.

The peer of each test is a thread that owns the duplicated descriptor and echoes until the end of file, then says "bye"
and closes: it stands for the supervisor, which serves clients without the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from corten.api.hijack import Connection, Hijacked, take
from corten.api.tls import TlsFront
from e2e_parts.patience import PATIENCE

ATTACH = "/v1.41/containers/abc/attach"


class Server:
    """Hijacks what is posted to attach, unless the path says refuse; answers everything else with its body's length."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.threads: list[threading.Thread] = []
        self.bodies: list[bytes] = []
        self.seen = asyncio.Event()  # a request came
        self.hold = asyncio.Event()  # it may be answered
        self.hold.set()
        self.cancelled = asyncio.Event()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.bodies.append(body)
        self.seen.set()
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if not request.path.endswith(("/attach", "/start")) or "refuse" in request.rel_url.query:
            return web.Response(text=str(len(body)), status=409 if "refuse" in request.rel_url.query else 200)
        taken = await take(request, framed=True, stream_types=True)
        if "fail" in request.rel_url.query:
            os.close(taken.fd)
            return web.Response(text="it went wrong", status=500)
        thread = threading.Thread(target=echo, args=(taken.fd, taken.early))
        thread.start()
        self.threads.append(thread)
        return Hijacked()


def echo(fd: int, early: bytes) -> None:
    with socket.socket(fileno=fd) as sock:
        sock.setblocking(True)
        try:
            sock.sendall(early)
            while data := sock.recv(65536):
                sock.sendall(data)
            sock.sendall(b"bye")
        except ConnectionError:
            return


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    served = Server(tmp_path / "s")
    aiohttp_server = web.Server(served.answer, handler_cancellation=True)

    def connection() -> Connection:
        return Connection(aiohttp_server, loop=asyncio.get_running_loop(), access_log=None, max_field_size=1 << 20)

    before = len(os.listdir("/proc/self/fd"))
    listening = await asyncio.get_running_loop().create_unix_server(connection, served.path)
    yield served
    listening.close()
    await aiohttp_server.shutdown(1)
    for thread in served.threads:
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def head(path: str = ATTACH, *lines: str, upgrade: str = "tcp", length: int | None = 0) -> bytes:
    all_lines = [f"POST {path} HTTP/1.1", "Host: docker", *lines]
    all_lines += ["Connection: Upgrade", f"Upgrade: {upgrade}"] if upgrade else []
    all_lines += [f"Content-Length: {length}"] if length is not None else []
    return "\r\n".join([*all_lines, "", ""]).encode()


async def converse(server: Server, *pieces: bytes, end: bool = True) -> bytes:
    """Send the pieces one by one, close our side, and read everything."""
    reader, writer = await asyncio.open_unix_connection(server.path)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if end:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


async def test_upgrade_is_answered_as_dockerd_does(server: Server) -> None:
    answer = await converse(server, head())
    assert answer == (
        b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n"
        b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\nbye"
    )


async def test_without_upgrade_header_it_is_200_and_raw(server: Server) -> None:
    answer = await converse(server, head(upgrade=""), b"data")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")
    assert body_of(answer) == b"databye"


@pytest.mark.parametrize("upgrade", ["tcp", ""])
async def test_bytes_behind_the_head_are_kept(server: Server, upgrade: str) -> None:
    """Also without an upgrade header, where they look like a second request."""
    answer = await converse(server, head(upgrade=upgrade) + b"GET / HTTP/1.1\r\n\r\nearly")
    assert body_of(answer) == b"GET / HTTP/1.1\r\n\r\nearlybye"


async def test_head_in_many_pieces(server: Server) -> None:
    whole = head() + b"x"
    assert body_of(await converse(server, *(whole[i : i + 1] for i in range(len(whole))))) == b"xbye"


async def test_body_with_length_does_not_leak_into_the_stream(server: Server) -> None:
    answer = await converse(server, head("/exec/abc/start", length=2) + b"{}early")
    assert body_of(answer) == b"earlybye"
    assert server.bodies == [b"{}"]


async def test_chunked_body_does_not_leak_into_the_stream(server: Server) -> None:
    request = head("/exec/abc/start", "Transfer-Encoding: chunked", length=None)
    answer = await converse(server, request + b"2\r\n{}\r\n", b"0\r\n\r\nearly", b" late")
    assert body_of(answer) == b"early latebye"
    assert server.bodies == [b"{}"]


async def test_early_end_of_file_still_gets_the_output(server: Server) -> None:
    """`echo x | docker run -i`: everything and the half-close can come before the handler runs."""
    server.hold.clear()
    talking = asyncio.ensure_future(converse(server, head() + b"all there is"))
    await server.seen.wait()
    server.hold.set()
    assert body_of(await talking) == b"all there isbye"


async def test_large_amounts_survive_a_slow_reader(server: Server) -> None:
    reader, writer = await asyncio.open_unix_connection(server.path, limit=1 << 16)
    data = os.urandom(1 << 20) * 24
    writer.write(head())

    async def send() -> None:
        for at in range(0, len(data), 1 << 18):
            writer.write(data[at : at + (1 << 18)])
            await writer.drain()
        writer.write_eof()

    sending = asyncio.ensure_future(send())
    await reader.readuntil(b"\r\n\r\n")
    got = await asyncio.wait_for(reader.read(), 30)
    await sending
    writer.close()
    assert got == data + b"bye"


async def test_failure_behind_the_head_ends_the_stream(server: Server) -> None:
    """An answer would land in the stream, and its connection would stay open for a next request."""
    answer = await converse(server, head(f"{ATTACH}?fail=1"), end=False)
    assert answer.startswith(b"HTTP/1.1 101 UPGRADED") and body_of(answer) == b""


async def test_refused_upgrade_goes_on_as_http(server: Server) -> None:
    """The bytes behind a refused request are the next request."""
    following = b"POST /other HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\nabc"
    answer = await converse(server, head(ATTACH + "?refuse=1") + following)
    assert answer.startswith(b"HTTP/1.1 409")
    assert b"HTTP/1.1 200 OK" in answer and answer.endswith(b"3")


@pytest.mark.parametrize("upgrade", ["tcp", ""])
@pytest.mark.parametrize("field", ["close", "Keep-Alive,  CLOSE", "close, Upgrade"])
async def test_refused_upgrade_of_a_client_that_closes_behind_the_answer(
    server: Server, field: str, upgrade: str
) -> None:
    refused = await converse(server, head(ATTACH + "?refuse=1", f"Connection: {field}", upgrade=upgrade), end=False)
    assert refused.startswith(b"HTTP/1.1 409") and b"\r\nConnection: close\r\n" in refused
    assert body_of(await converse(server, head(ATTACH, f"Connection: {field}", upgrade=upgrade) + b"x")) == b"xbye"


async def test_refused_upgrade_of_a_client_that_closed_its_side_ends(server: Server) -> None:
    server.hold.clear()
    talking = asyncio.ensure_future(converse(server, head(ATTACH + "?refuse=1")))
    await server.seen.wait()
    server.hold.set()
    assert (await talking).startswith(b"HTTP/1.1 409")


async def test_connection_is_kept_alive_before_a_hijack(server: Server) -> None:
    plain = b"POST /plain HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n"
    reader, writer = await asyncio.open_unix_connection(server.path)
    writer.write(plain)
    await reader.readuntil(b"\r\n\r\n0")
    writer.write(head() + b"x")
    writer.write_eof()
    assert body_of(await reader.read()) == b"xbye"
    writer.close()


async def test_upload_that_holds_an_upgrade_header_is_not_touched(server: Server) -> None:
    """The head of a request is looked at, never its body."""
    body = b"POST /containers/x/attach HTTP/1.1\r\nUpgrade: tcp\r\n\r\n" * 3
    request = f"POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    reader, writer = await asyncio.open_unix_connection(server.path)
    for piece in (request, body[:60], body[60:]):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    await reader.readuntil(str(len(body)).encode())
    writer.close()
    assert server.bodies == [body]


async def test_client_that_is_gone_costs_nothing(server: Server) -> None:
    server.hold.clear()
    _, writer = await asyncio.open_unix_connection(server.path)
    writer.write(head())
    await server.seen.wait()
    writer.transport.abort()
    server.hold.set()
    assert body_of(await converse(server, head() + b"next")) == b"nextbye"


async def test_handler_of_a_plain_request_is_cancelled_when_the_client_goes(server: Server) -> None:
    server.hold.clear()
    _, writer = await asyncio.open_unix_connection(server.path)
    writer.write(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
    await server.seen.wait()
    writer.close()
    await asyncio.wait_for(server.cancelled.wait(), 60)


async def test_large_header(server: Server) -> None:
    big = "X-Registry-Config: " + "a" * 100_000
    assert body_of(await converse(server, head(ATTACH, big) + b"x")) == b"xbye"


@pytest.mark.parametrize("late", [0.0, 0.4])
async def test_data_is_sent_only_when_the_head_was_read(server: Server, late: float) -> None:
    """docker-py loses what it reads together with the head, and may read that late on a machine with much to do."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(server.path)
    await asyncio.to_thread(sock.sendall, head() + b"early")
    await asyncio.sleep(late)
    first = await asyncio.to_thread(sock.recv, 65536)
    assert first.endswith(b"\r\n\r\n")
    assert await asyncio.to_thread(sock.recv, 65536) == b"early"
    sock.close()


@pytest.fixture
async def tls(server: Server, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[socket.socket]]]:
    """Opens TLS connections to the same server, as blocking sockets."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl (Debian package openssl)")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=t -keyout key -out crt"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    handlers = web.Server(server.answer, handler_cancellation=True)
    loop = asyncio.get_running_loop()

    def connection() -> Connection:
        return Connection(handlers, loop=loop, access_log=None)

    listening = await loop.create_server(TlsFront(connection, context), "127.0.0.1")
    trust = ssl.create_default_context(cafile=tmp_path / "crt")
    trust.check_hostname = False

    def connect() -> ssl.SSLSocket:
        plain = socket.create_connection(listening.sockets[0].getsockname(), 10)
        return trust.wrap_socket(plain)

    yield lambda: asyncio.to_thread(connect)
    listening.close()
    await handlers.shutdown(1)


async def test_tls_carries_plain_requests(tls: Callable[[], Awaitable[ssl.SSLSocket]]) -> None:
    sock = await tls()
    for _ in range(2):
        await asyncio.to_thread(sock.sendall, b"POST /plain HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\nabc")
        answer = await asyncio.to_thread(sock.recv, 65536)
        assert answer.endswith(b"\r\n\r\n3")
    sock.close()


async def test_tls_hijack_with_half_close(tls: Callable[[], Awaitable[ssl.SSLSocket]], tmp_path: Path) -> None:
    """Go's clients send TLS's close_notify to end their side, and read on."""
    sample = await tls()
    reader, writer = await asyncio.open_connection(*sample.getpeername())
    sample.close()
    trust = ssl.create_default_context(cafile=tmp_path / "crt")
    trust.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(incoming, outgoing)

    async def step(call: Callable[[], Any]) -> Any:
        while True:
            try:
                result = call()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
                continue
            writer.write(outgoing.read())
            return result

    await step(client.do_handshake)
    data = os.urandom(100_000)
    await step(lambda: client.write(head() + data))
    with contextlib.suppress(ssl.SSLWantReadError):
        client.unwrap()  # sends close_notify; the answer to it comes behind the output
    writer.write(outgoing.read())
    got = b""
    async with asyncio.timeout(60):
        try:
            while not got.endswith(b"bye"):
                got += await step(lambda: client.read(65536))
        except ssl.SSLError as error:
            raise AssertionError(got[:200]) from error
    writer.close()
    assert body_of(got) == data + b"bye"


async def test_tls_garbage_is_refused(tls: Callable[[], Awaitable[ssl.SSLSocket]]) -> None:
    sock = await tls()
    address = sock.getpeername()
    sock.close()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 60)
    assert answer == b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    writer.close()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"\x16\x03junk" * 10)
    assert b"HTTP" not in await asyncio.wait_for(reader.read(), 60)
    writer.close()
