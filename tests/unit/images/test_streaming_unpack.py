"""Layers that are unpacked while they arrive, with confined workers and a registry that takes its time."""

from __future__ import annotations

import asyncio
import bz2
import ctypes
import errno
import io
import json
import lzma
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from corten.errors import Invalid
from corten.images import chain, pump
from corten.images.unpack import Unpacked
from corten.snapshots import syncing
from corten.snapshots.tree_store import Draft
from corten.store.blobs import Ingest
from image_parts import tars
from image_parts.registries import Scripted, scripted
from image_parts.stores import Made, Store, body, collect, digest
from image_parts.workers import ForkWorkers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")

LAYER = tars.archive(tars.file("noise", os.urandom(3 << 20)))


class Counted(ForkWorkers):
    """`begun` is set when a worker is asked for."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.count = 0

    async def unpack(self, tree: Path, source_fd: int) -> dict[str, Any]:
        self.count += 1
        self.begun.set()
        return await super().unpack(tree, source_fd)


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as registry:
        yield registry


@pytest.fixture
async def workers() -> Counted:
    return Counted()


@pytest.fixture
async def store(tmp_path: Path, workers: Counted) -> AsyncIterator[Store]:
    store = Store(tmp_path / "root", workers)
    yield store
    await store.close()


def in_two_halves(server: Scripted, data: bytes, between: asyncio.Event) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        if not request.path.endswith(digest(data)):
            return None
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        await between.wait()
        await response.write(data[len(data) // 2 :])
        return response

    server.before = before


async def test_a_layer_is_unpacked_before_its_last_byte(store: Store, server: Scripted, workers: Counted) -> None:
    image = Made([LAYER])
    server.add("1", image)
    in_two_halves(server, image.layers[0], workers.begun)
    messages = await asyncio.wait_for(collect(store.images.pull(f"{server.host}/a/b", "1", None, None)), 120)
    assert "error" not in messages[-1]
    assert workers.count == 1
    words = [message["status"] for message in messages]
    assert words.index("Download complete") < words.index("Extracting") < words.index("Pull complete")


async def test_what_is_not_as_promised_leaves_nothing(store: Store, server: Scripted, workers: Counted) -> None:
    image = Made([LAYER])
    server.add("1", image)
    wrong = image.layers[0][:-1] + bytes([image.layers[0][-1] ^ 1])
    server.blobs[digest(image.layers[0])] = wrong
    messages = await collect(store.images.pull(f"{server.host}/a/b", "1", None, None))
    assert "digest mismatch" in messages[-1]["error"]
    assert not [left for left in store.leftovers() if "snapshots" in left]


async def test_a_layer_of_another_content_is_refused(store: Store, server: Scripted, workers: Counted) -> None:
    image, other = Made([LAYER]), Made([tars.archive(tars.file("other", os.urandom(2 << 20)))])
    manifest = json.loads(image.manifest)
    manifest["layers"] = json.loads(other.manifest)["layers"]
    image.manifest = json.dumps(manifest).encode()
    server.add("1", image)
    server.add("2", other)
    messages = await collect(store.images.pull(f"{server.host}/a/b", "1", None, None))
    assert "but its image says" in messages[-1]["error"]
    assert not [left for left in store.leftovers() if "snapshots" in left]


def docker_archive(layer: bytes, diff_id: str) -> bytes:
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}})
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["early:1"], "Layers": ["l/layer.tar"]}])
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (("l/layer.tar", layer), ("c.json", config.encode()), ("manifest.json", manifest.encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


async def test_an_archive_is_unpacked_once(store: Store, workers: Counted) -> None:
    data = docker_archive(LAYER, digest(LAYER))
    messages = await collect(store.images.load(body(data), True))
    assert "Loaded image: early:1\n" in [message.get("stream") for message in messages]
    assert workers.count == 1


async def test_an_archive_that_lies_leaves_nothing(store: Store, workers: Counted) -> None:
    data = docker_archive(LAYER, digest(b"another"))
    with pytest.raises(Invalid, match="but its image says"):
        await collect(store.images.load(body(data), True))
    assert not [left for left in store.leftovers() if "snapshots" in left]


async def test_a_large_file_that_is_no_layer_is_ignored(store: Store, workers: Counted) -> None:
    data = docker_archive(LAYER, digest(LAYER))
    with tarfile.open(fileobj=(out := io.BytesIO()), mode="w") as tar:
        info = tarfile.TarInfo("noise.bin")
        info.size = 2 << 20
        tar.addfile(info, io.BytesIO(os.urandom(info.size)))
    messages = await collect(store.images.load(body(out.getvalue()[: -(-(info.size + 512) // 512) * 512] + data), True))
    assert "Loaded image: early:1\n" in [message.get("stream") for message in messages]
    assert len([left for left in store.leftovers() if left.startswith("snapshots/")]) == 1


@pytest.mark.parametrize("compress", [lzma.compress, bz2.compress])
async def test_what_no_image_is_compressed_with_is_not_even_begun(
    store: Store, server: Scripted, workers: Counted, monkeypatch: pytest.MonkeyPatch, compress: Any
) -> None:
    """The decoders of archives that users load are not for what a registry sends (CVE-2014-9357)."""
    decoders: list[str] = []
    monkeypatch.setattr(pump, "Decoder", decoders.append)
    image = Made([LAYER])
    layer = compress(LAYER)
    image.layers = [layer]
    manifest = json.loads(image.manifest)
    manifest["layers"] = [{**manifest["layers"][0], "digest": digest(layer), "size": len(layer)}]
    image.manifest = json.dumps(manifest).encode()
    server.add("1", image)
    in_two_halves(server, layer, workers.begun)
    messages = await asyncio.wait_for(collect(store.images.pull(f"{server.host}/a/b", "1", None, None)), 120)
    assert "which no image may be" in messages[-1]["error"]
    assert decoders == []
    assert store.leftovers() == []


async def test_an_image_may_have_a_layer_twice(store: Store, server: Scripted, workers: Counted) -> None:
    image = Made([LAYER, LAYER])
    server.add("1", image)
    in_two_halves(server, image.layers[0], workers.begun)
    messages = await asyncio.wait_for(collect(store.images.pull(f"{server.host}/a/b", "1", None, None)), 120)
    assert "error" not in messages[-1]
    assert len([left for left in store.leftovers() if left.startswith("snapshots/")]) == 2


async def test_an_unexpected_error_is_logged_and_the_layer_unpacked_again(
    store: Store, server: Scripted, workers: Counted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(ingest: Ingest) -> Unpacked | None:
        workers.begun.set()
        raise LookupError("not foreseen")

    monkeypatch.setattr(store.images.store.unpacker, "follow", broken)
    image = Made([LAYER])
    server.add("1", image)
    in_two_halves(server, image.layers[0], workers.begun)
    messages = await asyncio.wait_for(collect(store.images.pull(f"{server.host}/a/b", "1", None, None)), 120)
    assert "error" not in messages[-1]
    assert "LookupError: not foreseen" in caplog.text


async def test_an_error_of_the_disk_that_a_flush_has_met_is_kept(
    store: Store, server: Scripted, workers: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel reports it once (errseq_t): the sync before the commit would not get it."""
    failed, loop, syncs = asyncio.Event(), asyncio.get_running_loop(), list[int]()

    def once(fd: int) -> int:
        syncs.append(fd)
        if len(syncs) > 1:
            return 0
        ctypes.set_errno(errno.EIO)
        loop.call_soon_threadsafe(failed.set)
        return -1

    monkeypatch.setattr(syncing, "_syncfs", once)
    monkeypatch.setattr(chain, "_FLUSH", 0.01)
    image = Made([LAYER])
    server.add("1", image)
    in_two_halves(server, image.layers[0], failed)
    messages = await asyncio.wait_for(collect(store.images.pull(f"{server.host}/a/b", "1", None, None)), 120)
    assert "syncfs" in messages[-1]["error"]
    assert store.images.list() == []
    assert not [left for left in store.leftovers() if "snapshots" in left]


async def test_an_import_that_cannot_be_synced_leaves_no_tree(
    store: Store, workers: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> int:
        ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(syncing, "_syncfs", fail)
    with pytest.raises(OSError, match="syncfs"):
        await collect(store.images.import_(body(LAYER)))
    assert store.leftovers() == []


async def test_a_draft_is_taken_away_when_its_worker_has_ended(
    store: Store, server: Scripted, workers: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the layer is not needed any more: a worker that goes on writing would leave behind what it writes."""
    image, never = Made([LAYER]), asyncio.Event()
    server.add("1", image)
    in_two_halves(server, image.layers[0], never)
    order: list[str] = []
    begun, goes_on, taken_away = asyncio.Event(), asyncio.Event(), asyncio.Event()
    unpack, discard, loop = workers.unpack, store.trees.discard, asyncio.get_running_loop()

    async def slow(tree: Path, source_fd: int) -> dict[str, Any]:
        begun.set()
        try:
            await goes_on.wait()
            return await unpack(tree, source_fd)
        finally:
            order.append("worker ended")

    def discarded(draft: Draft) -> None:
        order.append("draft taken away")
        discard(draft)
        loop.call_soon_threadsafe(taken_away.set)

    monkeypatch.setattr(workers, "unpack", slow)
    monkeypatch.setattr(store.trees, "discard", discarded)
    pulling = asyncio.ensure_future(collect(store.images.pull(f"{server.host}/a/b", "1", None, None)))
    await asyncio.wait_for(begun.wait(), 30)
    pulling.cancel()
    for _ in range(100):  # turns of the loop in which the draft could be taken away too early
        await asyncio.sleep(0)
    assert order == []
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(pulling, 30)
    never.set()
    await asyncio.wait_for(taken_away.wait(), 30)
    assert order == ["worker ended", "draft taken away"]
    assert workers.count == 1  # it was not merely kept from beginning
    store.trees.tree_store.drain()
    assert not [left for left in store.leftovers() if "snapshots" in left]
