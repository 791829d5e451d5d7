"""ReadFile, ReadDir and StatFile of LLBBridge, and warnings of clients, over a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corten.build.contract import Entry, SourceTree, Tree
from corten.buildkit import references
from corten.buildkit.jobs import Job
from corten.buildkit.references import References
from corten.buildkit.trace import messages
from corten.errors import Invalid
from corten.http2 import grpc
from corten.http2.channel import Channel
from corten.http2.grpc import Status
from corten.spec.protobuf import gateway as m
from corten.spec.protobuf.control import SolveRequest
from grpc_channels import connected

PREFIX = "/moby.buildkit.v1.frontend.LLBBridge/"
TREE = SourceTree("t", Path("/t"))


class OneFile:
    """`corten.build.contract.Looks` of any tree: every path is this file, every directory has these names."""

    content_ = b"0123456789"

    async def stat(self, tree: Tree, path: str) -> Entry:
        assert tree == TREE
        return Entry(path, 0o644, 1, 2, 10, 3, "")

    async def entries(self, tree: Tree, path: str) -> list[Entry]:
        return [Entry(name, 1 << 27, 0, 0, 0, 0, "to") for name in ("a.go", "b.go", "c[d]", "\udcff")]

    async def content(self, tree: Tree, path: str, offset: int, length: int) -> bytes:
        return self.content_[offset : offset + length]


@pytest.fixture
async def channel() -> AsyncIterator[Channel]:
    found = References(OneFile)
    found.add("one", TREE)
    found.add("gone", TREE)
    found.remove("gone")
    async with connected(found.functions(PREFIX)) as client:
        yield client


async def read(channel: Channel, request: m.ReadFileRequest) -> bytes:
    answer = await grpc.unary(channel, PREFIX + "ReadFile", request.encode(), seconds=10)
    return m.ReadFileResponse.decode(answer).data


async def test_a_file_and_parts_of_it(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await read(channel, m.ReadFileRequest("one", "f")) == b"0123456789"
    assert await read(channel, m.ReadFileRequest("one", "f", m.FileRange(2, 3))) == b"234"
    assert await read(channel, m.ReadFileRequest("one", "f", m.FileRange(0, 0))) == b""
    assert await read(channel, m.ReadFileRequest("one", "f", m.FileRange(5, 1 << 62))) == b"56789"
    monkeypatch.setattr(references, "_MOST", 9)
    with pytest.raises(Status, match="has more than 9 bytes: ask for a range of it"):
        await read(channel, m.ReadFileRequest("one", "f"))
    for odd in (m.FileRange(-1, 3), m.FileRange(0, -3)):
        with pytest.raises(Status, match="invalid range"):
            await read(channel, m.ReadFileRequest("one", "f", odd))


async def test_entries(channel: Channel) -> None:
    stat = await grpc.unary(channel, PREFIX + "StatFile", m.StatFileRequest("one", "/x/f").encode(), seconds=10)
    found = m.StatFileResponse.decode(stat).stat
    assert found is not None and (found.path, found.mode, found.uid, found.size) == ("/x/f", 0o644, 1, 10)

    async def names(pattern: str) -> list[str]:
        request = m.ReadDirRequest("one", "/", pattern).encode()
        answer = await grpc.unary(channel, PREFIX + "ReadDir", request, seconds=10)
        return [entry.path for entry in m.ReadDirResponse.decode(answer).entries]

    assert await names("") == ["a.go", "b.go", "c[d]", "?"]
    assert await names("[^b]*.go") == ["a.go"] and await names(r"c\[d]") == ["c[d]"]
    assert await names("a/b") == [] and await names("*" * 4000) == ["a.go", "b.go", "c[d]", "?"]
    with pytest.raises(Status, match="invalid pattern"):
        await names("[")


@pytest.mark.parametrize("id", ["", "gone", "no such", "one\0"])
async def test_references_that_are_none(channel: Channel, id: str) -> None:
    for name, request in (
        ("ReadFile", m.ReadFileRequest(id, "f").encode()),
        ("ReadDir", m.ReadDirRequest(id, "f").encode()),
        ("StatFile", m.StatFileRequest(id, "f").encode()),
    ):
        with pytest.raises(Status, match="is not here any more") as failed:
            await grpc.unary(channel, PREFIX + name, request, seconds=10)
        assert failed.value.code == grpc.NOT_FOUND


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
async def test_paths_that_are_none(channel: Channel, path: str) -> None:
    with pytest.raises(Status, match="invalid path"):
        await grpc.unary(channel, PREFIX + "StatFile", m.StatFileRequest("one", path).encode(), seconds=10)


async def test_warnings_of_a_client_are_shown_as_they_are() -> None:
    job = Job(SolveRequest(ref="r"), asyncio.get_running_loop().create_future())
    job.warn(m.WarnRequest("sha256:theirs", 2, b"short", [b"more"], "https://x"), 40)
    job.end()
    (events,) = [events async for events in job.events()]
    (message,) = messages(events, "r")
    (warning,) = message.warnings
    assert (warning.vertex, warning.level, warning.short, warning.url) == ("sha256:theirs", 2, b"short", "https://x")
    with pytest.raises(Invalid):
        job.warn(m.WarnRequest(url="https://x"), 70_000)
    with pytest.raises(Invalid, match="more than 1000 warnings"):
        for _ in range(1001):
            job.warn(m.WarnRequest(), 0)
