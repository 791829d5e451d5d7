"""A registry with an image and a large blob, and a client of it; files that need another kind have their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corten.registry.client.registry import Registry
from corten.registry.server.access import Access
from corten.registry.server.app import Registry as Server
from corten.registry.server.store import Store
from corten.store.blobs import Blobs
from image_parts.asking import DATA
from image_parts.registries import Scripted, scripted
from image_parts.stores import Made, digest
from registry_parts.own import Own, served


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as registry:
        registry.add("1", Made([b"layer"]))
        registry.blobs[digest(DATA)] = DATA
        yield registry


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Registry]:
    registry = Registry(Blobs(tmp_path), pause=0.01)
    yield registry
    await registry.close()


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Own]:
    """Our server, without accounts."""
    store = Store(tmp_path)
    async with served(Server(store, Access())) as found:
        yield found
    store.close()
