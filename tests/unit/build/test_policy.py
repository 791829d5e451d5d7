"""daemon.json's "builder", and what goes by it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from corten.build.cache.policy import Policy, Rule, default, parse
from corten.build.cache.pruner import Pruner
from corten.build.trees import Trees
from corten.errors import Conflict, Invalid
from corten.spec.docker.filters import Filters
from fakes.engine import NoMounts
from image_parts.stores import Store


def test_what_dockerd_takes() -> None:
    assert parse({}) == default()
    assert parse({"gc": {"enabled": False}}) == Policy(())
    assert parse({"gc": {"defaultKeepStorage": "20GB"}}).most(1 << 50) == 20 << 30
    rules = [{"keepStorage": "1gb", "filter": ["unused-for=48h", "type==source.local"]}, {"all": True}]
    found = parse({"gc": {"enabled": True, "defaultKeepStorage": "5g", "policy": rules}, "entitlements": {}})
    assert found.rules == (
        Rule(Filters({"unused-for": ["48h"], "type": ["source.local"]}), False, 1 << 30),
        Rule(Filters(), True, 5 << 30),
    )
    assert parse({}).most(1000) == 100


@pytest.mark.parametrize(
    "section",
    [
        {"GC": {}},
        {"gc": []},
        {"gc": {"enabled": "yes"}},
        {"gc": {"defaultKeepStorage": "much"}},
        {"gc": {"policy": {}}},
        {"gc": {"policy": [{"keep": 1}]}},
        {"gc": {"policy": [{"filter": "x"}]}},
        {"gc": {"policy": [{"all": 1}]}},
        {"gc": {"policy": [{"filter": ["x=y"]}]}},
        {"gc": {"policy": [{"filter": ["unused-for=soon"]}]}},
    ],
)
def test_what_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        parse(section)


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    made = Store(tmp_path / "store")
    yield made
    await made.close()


def kept(store: Store, trees: Trees, policy: Policy) -> Pruner:
    return Pruner(store.images.store, store.cache, NoMounts(), (trees,), policy)


async def left(trees: Trees, root: Path, sizes: dict[str, int]) -> None:
    """Trees of these sizes, the first used longest ago."""
    for age, (key, size) in enumerate(sizes.items()):
        path = trees.take(key)
        (path / "file").write_text(key)
        await trees.give(path, whole=True, size=size)
        os.utime(path.parent, (time.time() - 1000 + age, time.time() - 1000 + age))


async def test_clients_directories_are_shown_pruned_and_collected(store: Store, tmp_path: Path) -> None:
    trees = Trees(tmp_path / "trees")
    await left(trees, tmp_path, {"a": 10, "b": 20, "c": 30})
    rows = await kept(store, trees, default()).usage(Filters())
    assert {row.type for row in rows} == {"source.local"} and sorted(row.size for row in rows) == [10, 20, 30]
    await kept(store, trees, Policy((Rule(Filters(), keep=50),))).collect()
    assert sorted(tree.size for tree in trees.every()) == [20, 30]
    await kept(store, trees, Policy((Rule(Filters({"type": ["regular"]}), keep=0),))).collect()
    assert len(trees.every()) == 2
    held = trees.take("c")
    deleted, freed = await kept(store, trees, default()).prune(False, Filters(), 0)
    assert freed == 20 and len(deleted) == 1 and [tree.in_use for tree in trees.every()] == [True]
    with pytest.raises(Conflict):
        await trees.remove(held.parent.name)
    await trees.give(held, whole=True, size=7)
    assert [(tree.size, tree.in_use) for tree in Trees(tmp_path / "trees").every()] == [(7, False)]
    await trees.remove(held.parent.name)
    assert not list((tmp_path / "trees").iterdir())


async def test_no_more_bytes_than_there_may_be(tmp_path: Path) -> None:
    trees = Trees(tmp_path / "trees", lambda: 25)
    await left(trees, tmp_path, {"a": 10, "b": 10, "c": 10})
    assert sorted(tree.size for tree in trees.every()) == [10, 10]
    assert (tmp_path / "trees").is_dir() and len(list((tmp_path / "trees").iterdir())) == 2


async def test_a_tree_that_is_taken_as_its_build_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be in use for as long as there is the daemon."""
    trees, begun, may = Trees(tmp_path / "trees"), threading.Event(), threading.Event()
    await left(trees, tmp_path, {"a": 10})
    take = trees.take

    def slow(key: str) -> Path:
        path = take(key)
        begun.set()
        may.wait()
        return path

    monkeypatch.setattr(trees, "take", slow)
    taking = asyncio.ensure_future(trees.taken("a"))
    await asyncio.to_thread(begun.wait)
    for _ in range(2):
        taking.cancel()
        await asyncio.sleep(0)
    may.set()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert [(tree.size, tree.in_use) for tree in trees.every()] == [(10, False)]
    assert (take("a") / "file").read_text() == "a"
