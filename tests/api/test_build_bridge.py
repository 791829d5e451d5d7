"""LLBBridge over /grpc and a session, as a client's gateway speaks to it: what buildx does not ask of itself."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from corten.http2 import grpc
from corten.http2.channel import Channel, over_socket
from corten.http2.connection import Connection
from corten.http2.grpc import Serving, Status
from corten.spec.protobuf import control as c
from corten.spec.protobuf import gateway as m
from fakes.daemon import Daemon

BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"
JOB = [("buildkit-controlapi-buildid", "job")]


async def upgraded(daemon: Daemon, path: str, headers: str = "") -> tuple[int, bytes]:
    """A connection behind its 101, and what came behind that."""
    made = socket.socket(socket.AF_UNIX)
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, daemon.socket)
    head = f"POST {path} HTTP/1.1\r\nHost:\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{headers}\r\n"
    await loop.sock_sendall(made, head.encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += await loop.sock_recv(made, 4096)
    assert data.startswith(b"HTTP/1.1 101 ")
    return made.detach(), data.partition(b"\r\n\r\n")[2]


@asynccontextmanager
async def job(daemon: Daemon) -> AsyncIterator[Channel]:
    """A client whose Control.Solve waits, and whose session has nothing."""
    serving = Serving({})
    fd, early = await upgraded(daemon, "/session", "X-Docker-Expose-Session-Uuid: s\r\n")
    session = await over_socket(fd, early, Connection(client=False), serving.on_stream)
    fd, early = await upgraded(daemon, "/grpc")
    channel = await over_socket(fd, early, Connection(client=True), lambda stream: stream.reset())
    request = c.SolveRequest(ref="job", session="s").encode()
    solve = asyncio.ensure_future(grpc.unary(channel, "/moby.buildkit.v1.Control/Solve", request, seconds=20))
    try:
        yield channel
        await asked(channel, "Return", m.ReturnRequest(m.Result()))
        await solve
    finally:
        solve.cancel()
        channel.close()
        session.close()
        await serving.close()


async def asked(channel: Channel, name: str, request: Any) -> bytes:
    return await grpc.unary(channel, BRIDGE + name, request.encode(), JOB, seconds=20)


async def test_what_an_image_is(daemon: Daemon) -> None:
    async with job(daemon) as channel:
        answer = await asked(channel, "ResolveImageConfig", m.ResolveImageConfigRequest("test"))
        found = m.ResolveImageConfigResponse.decode(answer)
        assert found.digest.startswith("sha256:") and found.ref == "test"
        assert json.loads(found.config)["rootfs"]["type"] == "layers"
        source = m.SourceOp("docker-image://test")
        request = m.ResolveSourceMetaRequest(source, image=m.ResolveSourceImageRequest(True))
        meta = m.ResolveSourceMetaResponse.decode(await asked(channel, "ResolveSourceMeta", request))
        assert meta.source == source and meta.image == m.ResolvedImage(found.digest)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (m.ResolveSourceMetaRequest(), "source is required"),
        (m.ResolveSourceMetaRequest(m.SourceOp("local://x")), "definitions in LLB are not supported"),
        (m.ResolveSourceMetaRequest(m.SourceOp("git://h/x", {"git.fullurl": "file:///etc"})), "git over 'file'"),
        (m.ResolveSourceMetaRequest(m.SourceOp("docker-image://no such")), "invalid reference format"),
    ],
)
async def test_what_is_no_source(daemon: Daemon, request_: m.ResolveSourceMetaRequest, message: str) -> None:
    async with job(daemon) as channel:
        with pytest.raises(Status, match=message):
            await asked(channel, "ResolveSourceMeta", request_)


async def test_definitions_that_are_refused(daemon: Daemon) -> None:
    async with job(daemon) as channel:
        for operations in ([b""], [b"\xff" * 9], [m.Op(source=m.SourceOp("local://context")).encode(), b""]):
            with pytest.raises(Status):
                await asked(channel, "Solve", m.BridgeSolveRequest(c.Definition(operations)))
        described = m.BridgeSolveRequest(None, "dockerfile.v0", {"requestid": "frontend.subrequests.describe"})
        result = m.BridgeSolveResponse.decode(await asked(channel, "Solve", described)).result
        assert result is not None and b"frontend.outline" in result.metadata["result.json"]
        gateway = {**described.attributes, "source": "docker/dockerfile:1"}
        asked_of_it = m.BridgeSolveRequest(None, "gateway.v0", gateway)
        result = m.BridgeSolveResponse.decode(await asked(channel, "Solve", asked_of_it)).result
        assert result is not None and b"frontend.outline" in result.metadata["result.json"]
        other = m.BridgeSolveRequest(None, "gateway.v0", {**gateway, "source": "other/frontend"})
        with pytest.raises(Status, match="the frontend 'other/frontend' is not supported: docker/dockerfile is"):
            await asked(channel, "Solve", other)
        await asked(channel, "Warn", m.WarnRequest("sha256:x", 1, b"short"))
        for large in (m.WarnRequest(url="x" * 100_000), m.WarnRequest("x" * 100_000)):
            with pytest.raises(Status, match="one of more than 65536 bytes"):
                await asked(channel, "Warn", large)
        with pytest.raises(Status, match="not here any more"):
            await asked(channel, "Evaluate", m.EvaluateRequest("nothing"))
