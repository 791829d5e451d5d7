"""gRPC by HTTP/2's preface on the API's socket, by grpclib: what POST /grpc serves, without HTTP/1.1 before it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from grpclib import GRPCError
from grpclib import Status as Code
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.exceptions import StreamTerminatedError

from corten.http2.frames import PREFACE, SETTINGS, frame
from corten.http2.grpc import LARGEST
from corten.spec.protobuf import control as c
from corten.spec.protobuf.session import SERVICE_UNKNOWN, SERVING, HealthCheckRequest, HealthCheckResponse
from fakes.daemon import Connection, Daemon
from grpc_bytes import Bytes

CONTROL, HEALTH = "/moby.buildkit.v1.Control/", "/grpc.health.v1.Health/"


@asynccontextmanager
async def connected(daemon: Daemon) -> AsyncIterator[Channel]:
    channel = Channel(path=daemon.socket, codec=Bytes())
    try:
        yield channel
    finally:
        channel.close()


async def asked(channel: Channel, path: str, request: bytes = b"") -> bytes:
    answer = await UnaryUnaryMethod(channel, path, bytes, bytes)(request, timeout=20)
    assert isinstance(answer, bytes)
    return answer


async def test_services(daemon: Daemon) -> None:
    async with connected(daemon) as channel:
        workers = c.ListWorkersResponse.decode(await asked(channel, CONTROL + "ListWorkers"))
        assert [worker.id for worker in workers.records] == ["corten"]
        assert c.DiskUsageResponse.decode(await asked(channel, CONTROL + "DiskUsage")).records == []
        for path in ("/moby.buildkit.v1.Control/NoSuch", "/other.Service/Method"):
            with pytest.raises(GRPCError) as raised:
                await asked(channel, path)
            assert raised.value.status is Code.UNIMPLEMENTED


async def test_health(daemon: Daemon) -> None:
    async with connected(daemon) as channel:
        for service in ("", "moby.buildkit.v1.Control", "moby.buildkit.v1.frontend.LLBBridge"):
            answer = await asked(channel, HEALTH + "Check", HealthCheckRequest(service).encode())
            assert HealthCheckResponse.decode(answer).status == SERVING
        with pytest.raises(GRPCError) as raised:
            await asked(channel, HEALTH + "Check", HealthCheckRequest("none").encode())
        assert raised.value.status is Code.NOT_FOUND
        for service, status in (("", SERVING), ("none", SERVICE_UNKNOWN)):
            async with UnaryUnaryMethod(channel, HEALTH + "Watch", bytes, bytes).open() as stream:
                await stream.send_message(HealthCheckRequest(service).encode(), end=True)
                assert HealthCheckResponse.decode(await stream.recv_message() or b"").status == status
                await stream.cancel()
        await asked(channel, HEALTH + "Check")


async def test_what_a_client_has_traced_is_taken(daemon: Daemon) -> None:
    export = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    async with connected(daemon) as channel:
        for request in (b"", b"\x0a\x04\x0a\x00\x12\x00"):  # without spans, and with an empty one of a resource
            assert await asked(channel, export, request) == b""


async def test_limits_are_those_of_the_upgraded_connection(daemon: Daemon) -> None:
    async with connected(daemon) as channel:
        with pytest.raises(GRPCError, match="are allowed") as raised:
            await asked(channel, CONTROL + "Info", bytes(LARGEST + 1))
        assert raised.value.status is Code.RESOURCE_EXHAUSTED
        await asked(channel, CONTROL + "Info")


def bare(daemon: Daemon) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(20)
    made.connect(daemon.socket)
    return made


@pytest.mark.parametrize("cut", range(1, len(PREFACE)))
def test_a_preface_in_two_pieces(daemon: Daemon, cut: int) -> None:
    with bare(daemon) as sock:
        sock.sendall(PREFACE[:cut])
        daemon.run(asyncio.sleep(0))  # so that it reads the first one by itself
        sock.sendall(PREFACE[cut:] + frame(SETTINGS, 0, 0))
        assert sock.recv(9)[3] == SETTINGS


@pytest.mark.parametrize("early", ["PR", "PRI * HTTP/2.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"])
def test_a_preface_that_goes_on_otherwise_is_no_request(daemon: Daemon, early: str) -> None:
    with bare(daemon) as sock:
        sock.sendall(early.encode())
        daemon.run(asyncio.sleep(0))
        sock.sendall(b"XY / HTTP/1.1\r\nHost: d\r\n\r\n")
        assert sock.recv(1 << 16).startswith(b"HTTP/1.0 400 Bad Request\r\n")


def test_a_preface_behind_a_request_is_no_request(daemon: Daemon, http: Connection) -> None:
    assert http.ask("GET", "/_ping")[0] == 200
    http.sock.sendall(PREFACE)
    assert http.sock.recv(1 << 16).startswith(b"HTTP/1.0 400 Bad Request\r\n")


def test_what_is_no_grpc(daemon: Daemon) -> None:
    """curl, asked for HTTP/2 without HTTP/1.1 before it."""
    command = ["curl", "-s", "-m", "20", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}"]
    done = subprocess.run([*command, "--unix-socket", daemon.socket, "http://d/_ping"], capture_output=True, text=True)
    assert done.stdout == "only gRPC is served by HTTP/2 here: the REST API is HTTP/1.1\n2 415"


async def test_connections_leave_nothing(daemon: Daemon) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        async with connected(daemon) as channel:
            await asked(channel, HEALTH + "Check")
    with bare(daemon) as sock:
        sock.sendall(PREFACE[:5])
    async with asyncio.timeout(20):
        while len(os.listdir("/proc/self/fd")) > before:
            await asyncio.to_thread(daemon.run, asyncio.sleep(0))


async def test_the_daemon_ends_its_connections(tmp_path: Path) -> None:
    """Also one whose client waits for what never comes."""
    with ExitStack() as held:
        running = held.enter_context(Daemon(tmp_path))
        channel = Channel(path=running.socket, codec=Bytes())
        stream = await UnaryUnaryMethod(channel, HEALTH + "Watch", bytes, bytes).open().__aenter__()
        await stream.send_message(b"", end=True)
        await stream.recv_message()
        ending = asyncio.get_running_loop().run_in_executor(None, held.pop_all().close)
        with pytest.raises(StreamTerminatedError):
            await asyncio.wait_for(stream.recv_message(), 20)
        await asyncio.wait_for(ending, 20)
        channel.close()
