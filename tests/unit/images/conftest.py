"""A registry with an image of two layers, and a store without any; files that need another kind have their own."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from image_parts.registries import Scripted, scripted
from image_parts.stores import BOTTOM, TOP, Made, Store


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as registry:
        registry.add("1", Made([BOTTOM, TOP]))
        yield registry


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "root")
    yield store
    await store.close()


@pytest.fixture
def collected() -> None:
    """What asyncio complains of when garbage of earlier tests is collected is in the log before the test begins."""
    gc.collect()
