"""The history of builds, and what was attested, over gRPC: what clients ask, without a builder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from corten.build.builds import Builds
from corten.build.contract import Asked, Vertex
from corten.build.history.history import History
from corten.build.outputs.contract import Predicate
from corten.build.result import Built
from corten.buildkit.content import ContentFace
from corten.buildkit.history import HistoryFace
from corten.errors import NotFound
from corten.http2 import grpc
from corten.http2.channel import Channel
from corten.http2.grpc import Status, calling, unary
from corten.spec.oci_image import OCI_INDEX, Descriptor
from corten.spec.protobuf import control as m
from fakes.table import MemoryTable
from grpc_channels import connected

LISTEN, UPDATE = "/moby.buildkit.v1.Control/ListenBuildHistory", "/moby.buildkit.v1.Control/UpdateBuildHistory"
INFO, READ = "/containerd.services.content.v1.Content/Info", "/containerd.services.content.v1.Content/Read"


class Past:
    """Of `Builds`, what the faces use."""

    def __init__(self, root: Path) -> None:
        self.history = History(MemoryTable(), root)

    async def document(self, digest: str) -> bytes:
        found = await self.history.attached(digest)
        if found is None:
            raise NotFound(f"content {digest}: not found")
        return found

    def build(self, ref: str, error: Exception | None = None) -> None:
        with self.history.recording(ref, {"target": "t"}, [Asked("image", {"name": "n"})], lambda _: None) as recording:
            recording.trace(Vertex("v", "name", started=1, completed=2, cached=True))
            if error is not None:
                raise error
            root = Descriptor(OCI_INDEX, "sha256:root", 7)
            predicate = Predicate("https://slsa.dev/provenance/v1", b"{}" * 1_500_000, "provenance.json")
            recording.made(Built("sha256:id", "sha256:root", b"", {"image.name": "n"}, True, root, (predicate,)))


@pytest.fixture
async def past(tmp_path: Path) -> AsyncIterator[Past]:
    made = Past(tmp_path / "history")
    yield made
    await made.history.settled()


@pytest.fixture
async def channel(past: Past) -> AsyncIterator[Channel]:
    builds = cast(Builds, past)
    async with connected({**HistoryFace(builds).functions(), **ContentFace(builds).functions()}) as made:
        yield made


async def all_of(channel: Channel, path: str, request: bytes, decode: Callable[[bytes], Any]) -> list[Any]:
    async with calling(channel, path) as call:
        await call.send(request, end=True)
        found = []
        while (message := await call.receive()) is not None:
            found.append(decode(message))
        grpc.finish(call.stream)
    return found


async def listed(channel: Channel, **request: Any) -> list[m.BuildHistoryEvent]:
    asked = m.BuildHistoryRequest(early_exit=True, **request).encode()
    return await all_of(channel, LISTEN, asked, m.BuildHistoryEvent.decode)


async def test_what_there_is(past: Past, channel: Channel) -> None:
    assert await listed(channel, ref="buildx-test-history-api-feature", active_only=True) == []
    past.build("r1")
    with pytest.raises(ValueError):
        past.build("r2", ValueError("private"))
    second, first = await listed(channel)
    assert second.type == m.COMPLETE and second.record is not None and first.record is not None
    assert second.record.error == m.RpcStatus(grpc.UNKNOWN, "internal error")
    assert (first.record.ref, first.record.attributes) == ("r1", {"target": "t"})
    assert (first.record.total, first.record.done, first.record.cached) == (1, 1, 1)
    assert first.record.exporters == [m.Exporter("image", {"name": "n"})] and first.record.error is None
    result = first.record.result
    assert result is not None and result.results[0].descriptor == m.Descriptor(OCI_INDEX, "sha256:root", 7)
    assert result.attestations[0].annotations == {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}
    assert [each.record.ref for each in await listed(channel, limit=1) if each.record] == ["r2"]
    assert [each.record.ref for each in await listed(channel, ref="r1") if each.record] == ["r1"]


async def test_what_comes(past: Past, channel: Channel) -> None:
    async with calling(channel, LISTEN) as call:
        await call.send(m.BuildHistoryRequest().encode(), end=True)
        await call.stream.begun()
        past.build("r")
        kinds = []
        for _ in range(2):
            message = await call.receive()
            assert message is not None
            kinds.append(m.BuildHistoryEvent.decode(message).type)
        assert kinds == [m.STARTED, m.COMPLETE]


async def test_what_comes_while_what_there_is_waits_for_its_client(past: Past, channel: Channel) -> None:
    """A client that reads nothing yet, and more records than are under way at a time."""
    for number in range(8):
        with past.history.recording(f"{number}", {"large": "x" * (255 << 10)}, (), lambda _: None):
            pass
    async with calling(channel, LISTEN) as call:
        await call.send(m.BuildHistoryRequest().encode(), end=True)
        await call.stream.begun()
        past.build("late")
        found = []
        while ("late", m.COMPLETE) not in found:
            message = await asyncio.wait_for(call.receive(), 60)
            assert message is not None
            event = m.BuildHistoryEvent.decode(message)
            assert event.record is not None
            found.append((event.record.ref, event.type))
        assert found[8:] == [("late", m.STARTED), ("late", m.COMPLETE)]


async def test_pinned_and_removed(past: Past, channel: Channel) -> None:
    past.build("ref")
    await unary(channel, UPDATE, m.UpdateBuildHistoryRequest("ref", pinned=True).encode())
    assert past.history.find("ref").pinned
    await unary(channel, UPDATE, m.UpdateBuildHistoryRequest("ref", finalize=True).encode())
    assert past.history.find("ref").pinned
    await unary(channel, UPDATE, m.UpdateBuildHistoryRequest("ref", delete=True).encode())
    assert past.history.all() == []
    past.build("ref")
    for ref in ("ref", "re", ""):  # a start of a reference is none
        with past.history.recording("other", {}, (), lambda _: None):
            pass
        if ref != "ref":
            with pytest.raises(Status) as refused:
                await unary(channel, UPDATE, m.UpdateBuildHistoryRequest(ref, delete=True).encode())
            assert refused.value.code == grpc.NOT_FOUND


async def test_what_was_attested(past: Past, channel: Channel) -> None:
    past.build("r")
    (attached,) = past.history.find("r").attached
    info = m.InfoResponseOfContent.decode(
        await unary(channel, INFO, m.InfoRequestOfContent(attached.digest).encode())
    ).info
    assert info == m.ContentInfo(attached.digest, 3_000_000)

    async def read(offset: int, size: int) -> bytes:
        asked = m.ReadContentRequest(attached.digest, offset, size).encode()
        found = await all_of(channel, READ, asked, m.ReadContentResponse.decode)
        assert all(len(each.data) <= 1 << 20 for each in found)
        return b"".join(each.data for each in found)

    assert await read(0, 0) == b"{}" * 1_500_000
    assert await read(2_999_999, 0) == b"}" and await read(1, 2) == b"}{" and await read(3_000_000, 5) == b""
    for offset, size in ((-1, 0), (3_000_001, 0), (0, -1)):
        with pytest.raises(Status) as refused:
            await read(offset, size)
        assert refused.value.code == grpc.INVALID_ARGUMENT
    with pytest.raises(Status) as absent:
        await unary(channel, INFO, m.InfoRequestOfContent("sha256:other").encode())
    assert absent.value.code == grpc.NOT_FOUND
