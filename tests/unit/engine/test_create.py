"""What can be done with a container while it is made: nothing; and what a failed removal of a volume leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corten.aio import threads
from corten.engine.containers import create as container_create
from corten.engine.containers import inspect as container_inspect
from corten.engine.containers import list as container_list
from corten.engine.containers import remove as container_remove
from corten.engine.containers import rename as container_rename
from corten.engine.containers import run as container_run
from corten.engine.engine import Engine
from corten.errors import Conflict, Exhausted, Invalid, NotFound, Unavailable
from corten.spec.docker.devices import DeviceMapping, ThrottleDevice
from corten.spec.docker.filters import Filters
from corten.spec.docker.host_config import HostConfig
from corten.spec.id_map import IdRange
from corten.spec.mounts import Mount
from corten.storage.faults import find
from corten.storage.known import known
from docker_json import create
from fakes.engine import PlainEngine


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    engine = PlainEngine(tmp_path)
    await engine.open()
    yield engine
    for container in list(engine.containers.by_id.values()):
        await container_remove.remove(engine.containers, container, volumes=True)
    await engine.settle()
    await engine.close()
    assert not engine.containers.creating


class Filling:
    """A volume's first content, which comes when `go_on` is set."""

    def __init__(self, engine: Engine) -> None:
        self.begun, self.go_on, self.fails = asyncio.Event(), asyncio.Event(), False
        engine.containers.stores = replace(engine.containers.stores, copy_up=self)

    async def __call__(
        self, volume: Path | Mount, rootfs: Sequence[Mount], path: str, uids: Sequence[IdRange], gids: Sequence[IdRange]
    ) -> bool:
        self.begun.set()
        await self.go_on.wait()
        if self.fails:
            raise Invalid("it cannot be filled")
        assert isinstance(volume, Path)
        (volume / "of the image").touch()
        return True


async def test_nothing_can_be_done_with_a_container_that_is_being_made(engine: Engine) -> None:
    filling = Filling(engine)
    making = asyncio.create_task(create(engine, {"Image": "test"}, {"Binds": ["data:/data"]}, "box"))
    await filling.begun.wait()
    (half,) = engine.containers.creating.values()
    for reference in ("box", half.id, half.id[:12]):
        with pytest.raises(NotFound, match="No such container"):
            engine.containers.get(reference)
    assert container_list.shown(engine.containers, every=True) == []
    assert await container_remove.prune(engine.containers, Filters(), 0) == ([], 0)
    with pytest.raises(Conflict, match="already in use"):
        await create(engine, {"Image": "test"}, {}, "box")
    other, _ = await create(engine, {"Image": "test"}, {}, "other")
    with pytest.raises(Conflict, match="already in use"):
        await container_rename.rename(engine.containers, other, "box")
    assert [c.record.name for c in engine.containers.of_image(half.record.image_id)] == ["other", "box"]
    filling.go_on.set()
    container, _ = await making
    assert container is half and engine.containers.get("box") is half
    assert [path.name for path in engine.volumes.path("data").iterdir()] == ["of the image"]
    assert container_inspect.state(container)["Status"] == "created"


async def test_a_create_that_fails_leaves_no_name(engine: Engine) -> None:
    filling = Filling(engine)
    filling.fails = True
    filling.go_on.set()
    with pytest.raises(Invalid, match="cannot be filled"):
        await create(engine, {"Image": "test"}, {"Binds": ["/anonymous"]}, "box")
    assert engine.volumes.list() == []
    filling.fails = False
    await create(engine, {"Image": "test"}, {}, "box")


async def test_too_many_volumes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_create, "MOST_MOUNTS", 3)
    volumes: dict[str, dict[str, str]] = {f"/{n}": {} for n in range(4)}
    with pytest.raises(Invalid, match="can have 3 mounts and volumes, not 4"):
        await create(engine, {"Image": "test", "Volumes": volumes}, {})
    assert engine.volumes.list() == []


async def test_a_volume_that_cannot_be_removed_stops_no_removal(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    container, _ = await create(engine, {"Image": "test", "Volumes": {"/data": {}}}, {}, "box")

    def fail(name: str, force: bool = False) -> None:
        raise OSError("the directory is not empty")

    with monkeypatch.context() as patch:
        patch.setattr(engine.volumes, "remove", fail)
        await container_remove.remove(engine.containers, container, volumes=True)
    assert "could not be removed: the directory is not empty" in caplog.text
    with pytest.raises(NotFound):
        engine.containers.get("box")
    with pytest.raises(NotFound, match="No such container"):
        await container_rename.rename(engine.containers, container, "other")
    (left,) = engine.volumes.list()
    engine.volumes.remove(left.name)


async def test_a_name_that_cannot_be_stored_is_not_taken(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    container, _ = await create(engine, {"Image": "test"}, {}, "box")

    def fail(kind: str, id: str, body: object) -> None:
        raise Exhausted("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(engine.containers.table, "put", fail)
        with pytest.raises(Exhausted):
            await container_rename.rename(engine.containers, container, "other")
    assert engine.containers.get("box") is container and container.record.name == "box"
    with pytest.raises(NotFound):
        engine.containers.get("other")
    await container_rename.rename(engine.containers, container, "other")


async def test_a_container_that_is_being_made_is_no_fault(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """`system check` sees it before it has a directory and a tree."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def held(work: Callable[[], object], what: str) -> object:
        begun.set()
        await go_on.wait()
        return work()

    monkeypatch.setattr(container_create, "answered", held)
    making = asyncio.create_task(create(engine, {"Image": "test"}, {"Binds": ["/etc:/data"]}, "box"))
    await begun.wait()
    store = engine.images.store
    assert engine.containers.creating
    root = engine.configuration.settings.data_root
    assert find(root, store, [], known(root, engine.containers, engine.volumes, store), {}) == []
    go_on.set()
    await making


async def test_a_device_that_does_not_answer(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at outside of the event loop, and the request ends."""
    stuck, loop = threading.Event(), threading.get_ident()

    def hangs(*_: object) -> dict[str, Any]:
        assert threading.get_ident() != loop
        stuck.wait(30)
        return {}

    facts = engine.configuration.facts
    monkeypatch.setattr(container_run, "container_spec", hangs)
    monkeypatch.setattr(threads, "_LOOK", 0.05)
    device = DeviceMapping(path_on_host="/dead/sdz", path_in_container="/dev/sdz", cgroup_permissions="rwm")
    throttle = ThrottleDevice(path="/dead/sdz", rate=1)
    try:
        for host in (HostConfig(devices=[device]), HostConfig(blkio_device_read_bps=[throttle])):
            with pytest.raises(Unavailable, match="a device is on a file system that does not answer"):
                await container_run._specified(cast(Any, SimpleNamespace(host_config=host)), facts, host)
    finally:
        stuck.set()
