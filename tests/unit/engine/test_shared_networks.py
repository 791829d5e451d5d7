"""Containers in the network of another one: their starts, and the end of the one that it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from corten.engine.containers import container as container_module
from corten.engine.containers import network as container_network
from corten.engine.containers import restart as container_restart
from corten.engine.containers import start as container_start
from corten.engine.containers import stop as container_stop
from corten.engine.containers import wait as container_wait
from corten.engine.engine import Engine
from corten.errors import Conflict
from corten.network.endpoint import Endpoint
from corten.tasks.contract import Bundle, Namespace, Stream
from docker_json import create
from fakes.containers import make, status
from fakes.engine import PlainEngine
from fakes.runtime import FakeTask


@pytest.mark.parametrize("mode", ["NetworkMode", "PidMode", "IpcMode"])
async def test_a_member_starts_again_behind_the_one_whose_namespace_it_is_in(engine: Engine, mode: str) -> None:
    always = {"Name": "always"}
    owner = await make(engine, "sleep", "60", name="owner", RestartPolicy=always, IpcMode="shareable")
    member = await make(engine, "sleep", "60", RestartPolicy=always, **{mode: "container:owner"})
    for container in (owner, member):
        await container_start.start(engine.containers, container)
    first = {container: container.task for container in (owner, member)}
    ended = [container_wait.future(container, "next-exit") for container in first]
    for task in first.values():
        assert task is not None
        await task.signal(9)
    async with asyncio.timeout(60):
        await asyncio.wait(ended)
        while any(c.record.state.status != "running" or c.task in (None, first[c]) for c in first):
            await asyncio.sleep(0.01)
    assert member.record.restart_count == owner.record.restart_count == 1


@pytest.mark.parametrize(
    "host",
    [{"NetworkMode": "container:owner"}, {"PidMode": "container:owner"}, {"IpcMode": "container:owner"},
     {"Links": ["owner:db"]}],
    ids=["network", "pid", "ipc", "link"],
)  # fmt: skip
async def test_a_start_waits_for_what_it_needs_and_a_client_restarts(
    engine: PlainEngine, monkeypatch: pytest.MonkeyPatch, host: dict[str, Any]
) -> None:
    """`docker compose restart` restarts all side by side, also those that are in another one's namespaces."""
    owner = await make(engine, "sleep", "60", name="owner", IpcMode="shareable")
    await container_start.start(engine.containers, owner)
    member = await make(engine, "sleep", "60", **host)
    again, go_on = asyncio.Event(), asyncio.Event()
    create_task = engine.runtime.create

    async def slow(bundle: Bundle, streams: Sequence[Stream] = ()) -> FakeTask:
        if bundle.id == owner.id:
            again.set()
            await go_on.wait()
        return await create_task(bundle, streams)

    monkeypatch.setattr(engine.runtime, "create", slow)
    restarting = asyncio.ensure_future(container_restart.restart(engine.containers, owner, 0))
    await again.wait()
    starting = asyncio.ensure_future(container_start.start(engine.containers, member))
    done, _ = await asyncio.wait({starting}, timeout=0.05)
    go_on.set()
    assert not done
    async with asyncio.timeout(60):
        await asyncio.gather(restarting, starting)
    assert status(owner) == status(member) == "running"


async def test_a_restart_that_takes_long_is_not_waited_for_without_end(
    engine: PlainEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await make(engine, "sleep", "60", name="owner")
    member = await make(engine, "sleep", "60", NetworkMode="container:owner")
    monkeypatch.setattr(container_module, "_RETURN", 0.01)
    async with asyncio.timeout(60):
        with owner.restart_by_a_client(), pytest.raises(Conflict, match="non running container"):
            await container_start.start(engine.containers, member)


async def test_a_member_has_the_names_of_the_one_whose_network_it_is_in(engine: Engine) -> None:
    owner, _ = await create(engine, {"Image": "test", "Cmd": ["sleep", "60"], "Hostname": "a", "Domainname": "b.c"})
    member = await make(engine, "sleep", "60", NetworkMode=f"container:{owner.id}")
    for container in (owner, member):
        await container_start.start(engine.containers, container)
    assert (member.record.config.hostname, member.record.config.domainname) == ("a", "b.c")


async def test_an_owner_s_end_waits_for_who_is_joining_its_network(
    engine: PlainEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is only in the namespace, a macvlan device, has to be removed from there when another one keeps it."""
    owner = await make(engine, "sleep", "60", name="owner")
    await container_start.start(engine.containers, owner)
    member = await make(engine, "sleep", "60", NetworkMode="container:owner")
    joining, go_on = asyncio.Event(), asyncio.Event()
    create_task, disconnect = engine.runtime.create, engine.fake_networks.disconnect
    removed_from: list[bool] = []

    async def slow(bundle: Bundle, streams: Sequence[Stream] = ()) -> FakeTask:
        joining.set()
        await go_on.wait()
        return await create_task(bundle, streams)

    async def noted(endpoint: Endpoint, namespace: Namespace | None = None) -> None:
        removed_from.append(namespace is not None)
        await disconnect(endpoint, namespace)

    monkeypatch.setattr(engine.runtime, "create", slow)
    monkeypatch.setattr(engine.fake_networks, "disconnect", noted)
    starting = asyncio.ensure_future(container_start.start(engine.containers, member))
    await joining.wait()
    assert owner.task is not None
    over = container_wait.future(owner, "not-running")
    await owner.task.signal(9)
    await owner.task.wait()
    done, _ = await asyncio.wait({over}, timeout=0.05)
    go_on.set()
    assert not done
    async with asyncio.timeout(60):
        await asyncio.gather(starting, over)
    assert removed_from == [True] and status(member) == "running"


async def test_an_owner_s_end_waits_no_longer_than_a_while(
    engine: PlainEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await make(engine, "sleep", "60", name="owner")
    await container_start.start(engine.containers, owner)
    member = await make(engine, "sleep", "60", NetworkMode="container:owner")
    member.record.sandbox = owner.id
    monkeypatch.setattr(container_network, "_JOIN", 0.01)
    async with member.lock, asyncio.timeout(60):
        await container_stop.kill(engine.containers, owner)
