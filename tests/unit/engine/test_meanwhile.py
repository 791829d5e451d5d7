"""What ends, or is removed, while a request about it waits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corten.api import container_streams
from corten.api.versions import STREAM_TYPES
from corten.engine.containers import held, logs
from corten.engine.containers import network as container_network
from corten.engine.containers import remove as container_remove
from corten.engine.containers import start as container_start
from corten.engine.containers.container import Container
from corten.engine.engine import Engine
from corten.errors import NotFound, Unavailable
from corten.spec.docker.networking import EndpointSettings
from corten.tasks.contract import Exit, Task
from docker_json import network
from fakes.containers import make
from fakes.engine import PlainEngine


async def test_a_link_of_a_container_that_is_removed(engine: PlainEngine) -> None:
    """Its record is not written again."""
    for name in ("db", "cache"):
        await container_start.start(engine.containers, await make(engine, "sleep", "60", name=name))
    app = await make(engine, "sleep", "60", name="app", Links=["db:db", "cache:cache"])
    async with app.lock:
        removing = asyncio.ensure_future(container_remove.remove(engine.containers, app))
        await asyncio.sleep(0)
        unlinking = asyncio.ensure_future(container_remove.remove_link(engine.containers, "app/db"))
        await asyncio.sleep(0)
    await removing
    with pytest.raises(NotFound, match="No such container"):
        await unlinking
    await engine.settle()
    assert not engine.containers.with_links and app.id not in engine.containers.table.list("container")


async def test_a_container_that_gets_no_name_server_is_not_connected(
    engine: PlainEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be in the network for as long as there is the daemon."""
    await engine.networks.create(network({"Name": "shop"}))
    container = await make(engine, "sleep", "60", name="web")
    await container_start.start(engine.containers, container)
    before = set(container.endpoints)

    async def fail(*_: object) -> None:
        raise Unavailable("no name server")

    monkeypatch.setattr(container_network, "_serve_names", fail)
    with pytest.raises(Unavailable, match="no name server"):
        await container_network.connect(engine.containers, container, "shop", EndpointSettings())
    assert set(container.endpoints) == before
    assert all(name != "shop" for name, _ in engine.networks.named_endpoints(container.id))


async def test_a_client_that_has_gone_while_the_container_started() -> None:
    """The supervisor gives up its connection, and that of one that waits it keeps."""
    released: list[tuple[str, bool]] = []

    def release(key: str, answer: bool) -> None:
        released.append((key, answer))

    task = cast(Task, SimpleNamespace(release=release))
    container = cast(Container, SimpleNamespace(id="x", task=task, held={"waits": lambda: 3}))
    held.hold_others(container, task, ["waits", "gone"])
    assert released == [("gone", False)]


async def test_a_container_of_a_pod_that_ends_while_its_log_is_looked_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A follower does not wait for the end of the next run."""
    container = await make(engine, "sleep", "60", name="web", LogConfig={"Type": "none"})
    await container_start.start(engine.containers, container)
    container.record.pod = cast(Any, SimpleNamespace(log=str(tmp_path / "0.log")))
    ends: list[asyncio.Future[Exit] | None] = []

    async def answered(*_: object) -> bool:
        container.wake(Exit(0, 0.0), "not-running", "next-exit")
        return True

    async def begin(*_: object) -> None:
        return

    async def pieces(*_: object) -> None:
        return

    monkeypatch.setattr(container_streams, "answered", answered)
    monkeypatch.setattr(container_streams, "begin", begin)
    monkeypatch.setattr(container_streams, "pieces", pieces)
    monkeypatch.setattr(logs, "read", lambda path, wanted, ended: ends.append(ended))
    call = SimpleNamespace(
        engine=engine,
        path={"id": "web"},
        version=STREAM_TYPES,
        flag=lambda name: name in ("stdout", "follow"),
        text=lambda name, default="": default,
        time=lambda name: 0,
    )
    await container_streams.container_logs(cast(Any, call))
    (ended,) = ends
    assert ended is not None and ended.done() and not ended.cancelled()
    container.record.pod = None
