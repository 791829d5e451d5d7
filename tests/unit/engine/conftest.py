"""An engine without root, of which nothing may be left; files whose engines begin or end otherwise have their own."""

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
        if container.record.state.status != "removing":
            await container_remove.remove(engine.containers, container, force=True)
    await engine.settle()
    assert engine.store.trees.tree_store.keys(committed=False) == []
    assert not any(engine.fake_networks.connected.values())
    assert not engine.runtime.tasks
    assert list(tmp_path.glob("containers/*")) == []
    assert engine.containers.table.list("container") == {}
    await engine.close()
