"""An engine without root; files whose engines begin or end otherwise have their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corten.engine.containers import remove as container_remove
from fakes.engine import PlainEngine


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[PlainEngine]:
    engine = PlainEngine(tmp_path)
    await engine.open()
    yield engine
    for container in list(engine.containers.by_id.values()):
        await container_remove.remove(engine.containers, container, force=True)
    await engine.settle()
    await engine.close()
