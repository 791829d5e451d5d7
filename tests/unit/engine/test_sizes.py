"""Answers about all containers and volumes, when one of them cannot be counted or goes away under way."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from corten.engine.containers import remove as container_remove
from corten.engine.containers.container import Container
from corten.engine.containers.sizes import sizes
from corten.engine.engine import Engine
from corten.layers import tree
from corten.snapshots.tree_store import Usage
from corten.spec.docker.filters import Filters
from docker_json import create
from fakes.engine import PlainEngine


async def made(tmp_path: Path) -> tuple[Engine, list[Container]]:
    engine = PlainEngine(tmp_path)
    await engine.open()
    config = {"Image": "test", "Cmd": ["true"]}
    return engine, [(await create(engine, config, name=name))[0] for name in ("bad", "good")]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def usage(top: int) -> tuple[int, int]:
        if "bad" in os.readlink(f"/proc/self/fd/{top}"):
            raise OSError(errno.EIO, "Input/output error")
        return 7, 1

    monkeypatch.setattr(tree, "usage", usage)


async def test_one_tree_that_cannot_be_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, (bad, good) = await made(tmp_path)

    def usage(key: str) -> Usage:
        if key == bad.id:
            raise OSError(errno.EIO, "Input/output error")
        return Usage(7, 1)

    monkeypatch.setattr(engine.containers.stores.snapshots, "usage", usage)
    assert (await sizes(engine.containers.stores, bad))["SizeRw"] == -1
    shown = (await engine.system.disk_usage(frozenset({"container"})))["Containers"]
    assert {one["Names"][0]: one["SizeRw"] for one in shown} == {"/bad": -1, "/good": 7}
    removed, freed = await container_remove.prune(engine.containers, Filters({}), 0)
    assert {*removed} == {bad.id, good.id} and freed == 7
    await engine.settle()
    await engine.close()


async def test_one_that_is_removed_while_all_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, (bad, good) = await made(tmp_path)
    loop, counted = asyncio.get_running_loop(), engine.containers.stores.snapshots.usage

    def usage(key: str) -> Usage:
        if key == bad.id:
            removal = container_remove.remove(engine.containers, bad)
            asyncio.run_coroutine_threadsafe(removal, loop).result(60)
        return counted(key)

    monkeypatch.setattr(engine.containers.stores.snapshots, "usage", usage)
    shown = (await engine.system.disk_usage(frozenset({"container"})))["Containers"]
    assert [one["Id"] for one in shown] == [good.id]
    await container_remove.remove(engine.containers, good)
    await engine.settle()
    await engine.close()


async def test_one_volume_that_cannot_be_counted(tmp_path: Path, broken: None) -> None:
    engine, containers = await made(tmp_path)
    for name in ("bad", "good"):
        engine.volumes.create(name)
    shown = (await engine.system.disk_usage(frozenset({"volume"})))["Volumes"]
    assert {one["Name"]: one["UsageData"]["Size"] for one in shown} == {"bad": -1, "good": 7}
    removed, freed = await engine.volumes.prune(Filters({"all": ["true"]}))
    assert {*removed} == {"bad", "good"} and freed == 7
    for container in containers:
        await container_remove.remove(engine.containers, container)
    await engine.settle()
    await engine.close()
