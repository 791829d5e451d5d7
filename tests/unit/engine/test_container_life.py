"""Containers over the fake runtime: states, policies, waiting, removal, and what a restart of the daemon keeps."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from corten.engine.containers import attach as container_attach
from corten.engine.containers import inspect as container_inspect
from corten.engine.containers import network as container_network
from corten.engine.containers import pause as container_pause
from corten.engine.containers import remove as container_remove
from corten.engine.containers import removed as container_removed
from corten.engine.containers import rename as container_rename
from corten.engine.containers import restart as container_restart
from corten.engine.containers import start as container_start
from corten.engine.containers import stop as container_stop
from corten.engine.containers import update as container_update
from corten.engine.containers import wait as container_wait
from corten.engine.containers.container import Container
from corten.engine.containers.records import State
from corten.engine.engine import Engine
from corten.errors import Conflict, Failed, Invalid, NotFound, NotModified, StartFailed
from corten.network.endpoint import Endpoint
from corten.spec.docker.filters import Filters
from corten.spec.docker.host_config import UpdateConfig
from corten.tasks.contract import Bundle, Exit, Namespace, Stream, Task
from docker_json import create
from fakes.engine import PlainEngine
from fakes.runtime import FakeRuntime, FakeTask


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


async def make(engine: Engine, *command: str, name: str = "", **host: Any) -> Container:
    config = {"Image": "test", "Cmd": list(command) or ["true"]}
    container, _ = await create(engine, config, host, name)
    return container


async def run(engine: Engine, *command: str, **host: Any) -> Container:
    container = await make(engine, *command, **host)
    await container_start.start(engine.containers, container)
    return container


async def ended(container: Container) -> int:
    async with asyncio.timeout(10):
        return (await container_wait.future(container, "not-running")).status


def status(container: Container) -> str:
    return container.record.state.status


async def test_whole_life(engine: Engine) -> None:
    container = await make(engine, "sh", "-c", "exit 3", name="box")
    assert status(container) == "created"
    timing = await container_start.start(engine.containers, container)
    assert timing["total"] > 0 and {"create", "start", "network"} <= timing.keys()
    assert await ended(container) == 3
    assert status(container) == "exited"
    await container_remove.remove(engine.containers, container)
    with pytest.raises(NotFound):
        engine.containers.get("box")
    actions = [e["Action"] for e in engine.events.history if e["Type"] == "container"]
    assert actions == ["create", "start", "die", "destroy"]


async def test_create_takes_from_the_image(engine: Engine) -> None:
    container, _ = await create(engine, {"Image": "test", "Env": ["A=b"]})
    assert container.record.path == "true"
    assert set(container.record.config.env or ()) >= {"A=b", "FROM_IMAGE=yes"}
    assert container.record.config.hostname == container.id[:12]
    assert "_" in container.record.name


async def test_failed_create_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    host = {"Binds": ["data:/data"], "VolumesFrom": ["absent"]}
    with pytest.raises(Invalid):
        await create(engine, {"Image": "test"}, host, "box")
    with pytest.raises(NotFound):
        await create(engine, {"Image": "missing"}, name="box")
    assert not engine.containers.by_name


async def test_names(engine: Engine) -> None:
    box = await make(engine, name="/box")
    with pytest.raises(Conflict, match="is already in use"):
        await make(engine, name="box")
    with pytest.raises(Invalid):
        await make(engine, name="a/b")
    other = await make(engine, name="other")
    with pytest.raises(Conflict):
        await container_rename.rename(engine.containers, other, "box")
    await container_rename.rename(engine.containers, box, "third")
    assert engine.containers.get("third") is box is engine.containers.get(box.id[:10])
    with pytest.raises(NotFound):
        engine.containers.get("box")


async def test_states_forbid(engine: Engine) -> None:
    container = await make(engine, "sleep", "60")
    for verb in (container_stop.kill, container_pause.pause, container_pause.unpause):
        with pytest.raises(Conflict):
            await verb(engine.containers, container)
    with pytest.raises(NotModified):
        await container_stop.stop(engine.containers, container)
    await container_start.start(engine.containers, container)
    with pytest.raises(NotModified):
        await container_start.start(engine.containers, container)
    with pytest.raises(Conflict, match="container is running"):
        await container_remove.remove(engine.containers, container)
    await container_pause.pause(engine.containers, container)
    with pytest.raises(Conflict, match="try unpause instead"):
        await container_start.start(engine.containers, container)
    await container_stop.kill(engine.containers, container)
    assert await ended(container) == 137


async def test_stop_sends_the_stop_signal_then_kills(engine: Engine) -> None:
    ready = "echo ready; while :; do sleep 0.02; done"
    trapping = await run(engine, "sh", "-c", f"trap 'exit 5' USR1; {ready}")
    ignoring = await run(engine, "sh", "-c", f"trap '' TERM; {ready}")
    for container in (trapping, ignoring):
        await output(container)
    trapping.record.config = trapping.record.config.replace(stop_signal="SIGUSR1")
    await container_stop.stop(engine.containers, trapping, 10)
    await container_stop.stop(engine.containers, ignoring, 0)
    assert [c.record.state.exit_code for c in (trapping, ignoring)] == [5, 137]


@pytest.mark.parametrize("verb", ["stop", "restart"])
async def test_a_stop_without_patience_waits_for_kill_to_work(engine: Engine, verb: str) -> None:
    container = await run(engine, "sleep", "60")
    call = container_stop.stop if verb == "stop" else container_restart.restart
    await call(engine.containers, container, 0, "KILL")
    assert status(container) == ("exited" if verb == "stop" else "running")


async def output(container: Container) -> None:
    """Wait until the container has written something."""
    assert container.log_path is not None
    async with asyncio.timeout(10):
        while not container.log_path.exists() or not container.log_path.stat().st_size:
            await asyncio.sleep(0.01)


async def test_program_that_cannot_start(engine: PlainEngine) -> None:
    container = await make(engine, "no-such-program")
    with pytest.raises(StartFailed):
        await container_start.start(engine.containers, container)
    assert (status(container), container.record.state.exit_code) == ("created", 127)
    assert "not found" in container.record.state.error
    await engine.settle()
    assert not engine.runtime.tasks


async def test_automatic_removal(engine: Engine) -> None:
    container = await make(engine, "sh", "-c", "exit 4", AutoRemove=True, Binds=["/anonymous"])
    removed = container_wait.future(container, "removed")
    await container_start.start(engine.containers, container)
    async with asyncio.timeout(10):
        assert (await removed).status == 4
    assert not engine.containers.by_id
    assert not engine.volumes.list()


async def test_the_code_of_what_removed_itself_is_kept_for_a_minute(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By id, the start of it, and name; of no other removal, and of no more than the last ones."""
    containers = engine.containers
    container = await make(engine, "sh", "-c", "exit 9", name="short", AutoRemove=True)
    removed = container_wait.future(container, "removed")
    await container_start.start(containers, container)
    assert (await asyncio.wait_for(removed, 10)).status == 9
    for reference in (container.id, container.id[:12], "short", "/short"):
        found = containers.get_ended(reference)
        assert isinstance(found, Exit) and found.status == 9
    other = await run(engine, "sh", "-c", "exit 4")
    await ended(other)
    assert containers.get_ended(other.id) is other
    await container_remove.remove(containers, other)
    for reference in (other.id, "", "unknown"):
        with pytest.raises((NotFound, Invalid)):
            containers.get_ended(reference)
    monkeypatch.setattr(container_removed, "MOST", 1)
    containers.removed.note("f" * 64, "youngest", Exit(3, 0.0))
    with pytest.raises(NotFound):
        containers.get_ended("short")
    monkeypatch.setattr(container_removed, "KEPT", 0.0)
    with pytest.raises(NotFound):
        containers.get_ended("youngest")


async def test_a_restart_is_no_end_to_automatic_removal(engine: Engine) -> None:
    """dockerd's: it is removed at its next end."""
    container = await run(engine, "sleep", "1000", AutoRemove=True)
    removed = container_wait.future(container, "removed")
    for _ in range(2):
        await container_restart.restart(engine.containers, container, 0)
        assert status(container) == "running" and not removed.done()
    await container_stop.stop(engine.containers, container, 0)
    assert (await asyncio.wait_for(removed, 10)).status == 143
    assert engine.events.history[-1]["Action"] == "destroy"


async def test_a_restart_that_cannot_start_it_again_removes_it(
    engine: PlainEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = await run(engine, "sleep", "1000", AutoRemove=True)

    async def refuse(bundle: Bundle, streams: Sequence[Stream] = ()) -> Task:
        raise Failed("no more tasks")

    with monkeypatch.context() as refusing:
        refusing.setattr(engine.runtime, "create", refuse)
        with pytest.raises(Failed, match="no more tasks"):
            await container_restart.restart(engine.containers, container, 0)
    with pytest.raises(NotFound):
        engine.containers.get(container.id)


async def test_an_update_of_what_has_just_ended(engine: Engine) -> None:
    """Its end is not recorded yet: the limits are those of its next run."""
    container = await run(engine, "sleep", "60")
    assert container.task is not None
    async with container.lock:
        updating = asyncio.ensure_future(
            container_update.update(engine.containers, container, UpdateConfig(cpu_shares=512))
        )
        await container.task.signal(9)
        await container.task.wait()
    await updating
    assert container.record.host_config.cpu_shares == 512
    assert await ended(container) == 137


async def test_forced_removal_of_what_removes_itself(engine: Engine) -> None:
    container = await run(engine, "sleep", "60", AutoRemove=True)
    await container_remove.remove(engine.containers, container, force=True)
    assert container.gone


async def test_wait_conditions(engine: Engine) -> None:
    container = await make(engine, "sh", "-c", "exit 6")
    assert container_wait.future(container, "not-running").done()
    next_exit = container_wait.future(container, "next-exit")
    removed = container_wait.future(container, "removed")
    await container_start.start(engine.containers, container)
    assert (await next_exit).status == 6
    assert not removed.done()
    await container_remove.remove(engine.containers, container)
    assert (await removed).status == 6
    with pytest.raises(Invalid):
        container_wait.condition("sometime")


async def test_restart_on_failure_counts(engine: Engine) -> None:
    policy = {"Name": "on-failure", "MaximumRetryCount": 2}
    container = await make(engine, "sh", "-c", "exit 1", RestartPolicy=policy)
    for _ in range(3):
        ended = container_wait.future(container, "next-exit")
        if status(container) == "created":
            await container_start.start(engine.containers, container)
        await ended
    assert (status(container), container.record.restart_count) == ("exited", 2)


async def test_stopping_ends_restarting(engine: Engine) -> None:
    container = await make(engine, "false", RestartPolicy={"Name": "always"})
    ended = container_wait.future(container, "next-exit")
    await container_start.start(engine.containers, container)
    await ended
    assert status(container) == "restarting"
    shown = container_inspect.state(container)
    assert shown["Running"] and shown["Restarting"]
    await container_stop.stop(engine.containers, container)
    assert status(container) == "exited" and container.record.stopped


async def test_volumes(engine: Engine) -> None:
    first = await make(engine, Binds=["data:/data", "/anonymous"])
    second = await make(engine, VolumesFrom=[first.id])
    assert [p.destination for p in second.record.mounts] == ["/data", "/anonymous"]
    with pytest.raises(Conflict, match="volume is in use"):
        engine.volumes.remove("data")
    await container_remove.remove(engine.containers, first, volumes=True)
    assert len(engine.volumes.list()) == 2  # the second still uses both
    await container_remove.remove(engine.containers, second, volumes=True)
    assert [v.name for v in engine.volumes.list()] == ["data"]
    names, _ = await engine.volumes.prune(Filters({"all": ["true"]}))
    assert names == ["data"]


async def test_concurrent_starts_start_once(engine: Engine) -> None:
    container = await make(engine, "sleep", "60")
    starts = [container_start.start(engine.containers, container) for _ in range(5)]
    outcomes = await asyncio.gather(*starts, return_exceptions=True)
    assert sum(isinstance(o, NotModified) for o in outcomes) == 4
    assert sum(isinstance(o, dict) for o in outcomes) == 1


async def test_oom_is_recorded(engine: Engine) -> None:
    container = await run(engine, "sleep", "60")
    engine.on_task_event(container.id, "oom", {})
    await container_stop.kill(engine.containers, container)
    await ended(container)
    assert container_inspect.state(container)["OOMKilled"]
    assert [e for e in engine.events.history if e["Action"] == "oom"]


async def test_health(engine: Engine) -> None:
    check = {"Test": ["CMD-SHELL", "test -e $MARK"], "Interval": 20_000_000, "Retries": 1}
    mark = engine.configuration.settings.data_root / "mark"
    config = {"Image": "test", "Cmd": ["sleep", "60"], "Healthcheck": check, "Env": [f"MARK={mark}"]}
    container, _ = await create(engine, config)
    await container_start.start(engine.containers, container)
    assert container_inspect.state(container)["Health"]["Status"] == "starting"
    source = engine.events.listen(since=1, filters=Filters({"event": ["health_status"]}))
    async with asyncio.timeout(10):
        assert (await anext(source))["Action"] == "health_status: unhealthy"
        mark.touch()
        assert (await anext(source))["Action"] == "health_status: healthy"
    await source.aclose()
    assert container_inspect.state(container)["Health"]["Log"][-1]["ExitCode"] == 0


async def test_a_client_that_attaches_during_a_start(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too late for the task's creation, too early to find the task: it is served all the same."""
    container = await make(engine, "sleep", "60")
    runtime, ours, theirs = engine.containers.runtime, *socket.socketpair()
    create = runtime.create

    async def create_and_meet(bundle: Bundle, streams: Sequence[Stream] = ()) -> Task:
        task = await create(bundle, streams)
        stream = Stream(theirs.detach(), stdin=False, stdout=True, stderr=True, mux=False)
        await container_attach.attach(engine.containers, container, stream, live=True, replay=False)
        return task

    monkeypatch.setattr(runtime, "create", create_and_meet)
    await container_start.start(engine.containers, container)
    assert not container.queued
    await container_stop.kill(engine.containers, container)
    with ours:
        ours.settimeout(10)
        assert await asyncio.to_thread(ours.recv, 1) == b""


@pytest.mark.parametrize("remove", [False, True])
async def test_an_end_is_reported_whatever_fails(engine: Engine, remove: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    container = await run(engine, "sleep", "60", AutoRemove=remove)
    waiting = container_wait.future(container, "removed" if remove else "next-exit")
    assert container.release is not None

    def fail(*_: object) -> None:
        raise Failed("no")

    def fail_unexpectedly() -> None:
        raise RuntimeError("oops")

    container.release.callback(fail_unexpectedly)
    with monkeypatch.context() as patch:
        patch.setattr(engine.containers.table, "put", fail)
        assert container.task is not None
        await container.task.signal(9)
        async with asyncio.timeout(10):
            assert (await waiting).status == 137
    assert status(container) == "exited"  # and it can be removed


async def test_an_earlier_daemons_containers(tmp_path: Path) -> None:
    """One runs on, one ended meanwhile, one is to be started, the removal of one was cut short, and the restart of one
    that removes itself."""
    runtime = FakeRuntime()
    old = PlainEngine(tmp_path, runtime)
    await old.open()
    await run(old, "sleep", "60", name="lasting")
    brief = await run(old, "sh", "-c", "read x; exit 8", name="brief")
    await ended(brief)
    brief.record.state = State("running", pid=1, started_at=1)
    always = await make(old, "sleep", "60", name="always", RestartPolicy={"Name": "always"})
    always.record.state = State("exited", started_at=1, finished_at=2)
    half = await make(old, name="half")
    half.record.state.status = "removing"
    stopped = await make(old, name="stopped", AutoRemove=True)
    stopped.record.state = State("exited", started_at=1, finished_at=2)
    unused = await make(old, name="unused", AutoRemove=True)
    for container in (brief, always, half, stopped):
        old.containers.save(container)
    await old.close()

    new = PlainEngine(tmp_path, runtime)
    await new.open()
    await new.settle()
    assert status(new.containers.get("lasting")) == "running"
    assert new.containers.get("lasting").endpoints.keys() == {"bridge"}
    assert status(new.containers.get("brief")) == "exited"
    assert new.containers.get("brief").record.state.exit_code == 8
    for removed in ("half", "stopped"):
        with pytest.raises(NotFound):
            new.containers.get(removed)
    assert status(new.containers.get(unused.id)) == "created"
    async with asyncio.timeout(10):
        async for event in new.events.listen(since=1):
            if event["Action"] == "start":
                break
    assert status(new.containers.get("always")) == "running"
    await container_stop.kill(new.containers, new.containers.get("lasting"))
    assert await ended(new.containers.get("lasting")) == 137
    for container in list(new.containers.by_id.values()):
        await container_remove.remove(new.containers, container, force=True)
    await new.settle()
    assert new.containers.table.list("container") == {}
    await new.close()


async def due(engine: Engine, name: str = "") -> Container:
    """A container whose restart is due, and waits for its lock, which the caller holds."""
    container = await make(engine, "false", name=name, RestartPolicy={"Name": "always"})
    await container_start.start(engine.containers, container)
    async with asyncio.timeout(10):
        while status(container) != "restarting":
            await asyncio.sleep(0)
        await container.lock.acquire()
        assert container.restart is not None
        await container.restart_due(container.restart)
        for _ in range(100):
            await asyncio.sleep(0)
    return container


@pytest.mark.parametrize("verb", ["stop", "kill", "remove"])
async def test_a_stop_while_a_restart_is_due_is_the_last_word(engine: Engine, verb: str) -> None:
    container = await due(engine)
    verbs = {
        "stop": lambda: container_stop.stop(engine.containers, container, 0),
        "kill": lambda: container_stop.kill(engine.containers, container),
        "remove": lambda: container_remove.remove(engine.containers, container, force=True),
    }
    stopping = asyncio.ensure_future(verbs[verb]())
    await asyncio.sleep(0)
    container.lock.release()
    async with asyncio.timeout(10):
        await asyncio.wait({stopping})
        assert verb != "remove" or (stopping.result() is None and container.gone)
        while container.record.state.running:
            await asyncio.sleep(0.01)
    assert container.record.stopped and container.restart is None and status(container) in ("exited", "removing")


@pytest.mark.parametrize("client", [False, True])
async def test_a_restart_that_fails_answers_those_that_wait(
    engine: Engine, client: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    container = await due(engine)
    waiting = [container_wait.future(container, "not-running"), container_wait.future(container, "next-exit")]

    async def fail(bundle: Bundle, streams: Sequence[Stream] = ()) -> Task:
        raise Conflict("cannot join network of a non running container")

    monkeypatch.setattr(engine.containers.runtime, "create", fail)
    if client:
        starting = asyncio.ensure_future(container_start.start(engine.containers, container))
        container.end_restart()
    container.lock.release()
    async with asyncio.timeout(10):
        assert [(await future).status for future in waiting] == [128, 128]
        if client:
            with pytest.raises(Conflict, match="cannot join"):
                await starting
    assert status(container) == "exited" and (client or "cannot join network" in caplog.text)


async def test_a_member_starts_again_behind_the_one_whose_network_it_is_in(engine: Engine) -> None:
    always = {"Name": "always"}
    owner = await make(engine, "sleep", "60", name="owner", RestartPolicy=always)
    member = await make(engine, "sleep", "60", NetworkMode="container:owner", RestartPolicy=always)
    for container in (owner, member):
        await container_start.start(engine.containers, container)
    first = {container: container.task for container in (owner, member)}
    ended = [container_wait.future(container, "next-exit") for container in first]
    for task in first.values():
        assert task is not None
        await task.signal(9)
    async with asyncio.timeout(10):
        await asyncio.wait(ended)
        while any(c.record.state.status != "running" or c.task in (None, first[c]) for c in first):
            await asyncio.sleep(0.01)
    assert member.record.restart_count == owner.record.restart_count == 1


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
    async with asyncio.timeout(10):
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
    async with member.lock, asyncio.timeout(10):
        await container_stop.kill(engine.containers, owner)
