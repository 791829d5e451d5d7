"""Layers that unpack to far more than they are (DOS-01), and those that only compress well."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from corten.images import pump
from image_parts import tars
from image_parts.registries import Scripted, scripted
from image_parts.stores import Made, Store, collect, entry

ZEROS = tars.archive(tars.file("zeros", bytes(4 << 20)))
TEXT = tars.archive(tars.file("text", os.urandom(3000).hex().encode() * 700))  # about a hundred times smaller


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as registry:
        yield registry


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    monkeypatch.setattr(pump, "_ALWAYS", 1 << 20)
    store = Store(tmp_path / "root")
    yield store
    await store.close()


async def pull(store: Store, server: Scripted, tar: bytes, codec: Any, kind: str) -> dict[str, Any]:
    image = Made([tar])
    image.layers[0] = codec(tar)
    document = json.loads(image.manifest)
    document["layers"] = [entry(document["layers"][0]["mediaType"].replace("gzip", kind), image.layers[0])]
    image.manifest = json.dumps(document).encode()
    server.add("1", image)
    return (await collect(store.images.pull(f"{server.host}/a/b", "1")))[-1]


@pytest.mark.parametrize(("codec", "kind"), [(gzip.compress, "gzip"), (zstd.compress, "zstd")])
async def test_a_bomb(store: Store, server: Scripted, codec: Any, kind: str) -> None:
    last = await pull(store, server, ZEROS, codec, kind)
    assert "zip bomb" in last["error"] and "\n" not in last["error"]
    assert store.images.list() == [] and store.leftovers() == []


def test_members_without_content_are_given_up_with_their_reader(tmp_path: Path) -> None:
    """They write nothing, and so find no pipe broken."""
    (tmp_path / "blob").write_bytes(gzip.compress(b"", mtime=0) * 1000)
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    running = pump.Pump("x", pump.Stored(os.open(tmp_path / "blob", os.O_RDONLY)), writer, lambda at: None)
    running.end()
    with pytest.raises(BrokenPipeError):
        running.run()
    os.close(reader)


async def test_what_only_compresses_well(store: Store, server: Scripted) -> None:
    last = await pull(store, server, TEXT, gzip.compress, "gzip")
    assert str(last.get("status")).startswith("Status: Downloaded newer image"), last
