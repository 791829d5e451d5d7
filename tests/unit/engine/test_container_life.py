"""Containers over the fake runtime: states, policies, waiting, and what a restart of the daemon keeps."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from corten.engine.containers import attach as container_attach
from corten.engine.containers import inspect as container_inspect
from corten.engine.containers import pause as container_pause
from corten.engine.containers import remove as container_remove
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
from corten.spec.docker import times
from corten.spec.docker.exec import ExecConfig
from corten.spec.docker.filters import Filters
from corten.spec.docker.host_config import UpdateConfig
from corten.tasks.contract import Bundle, Stream, Task
from docker_json import create
from fakes.containers import ended, make, run, status
from fakes.engine import PlainEngine
from fakes.runtime import FakeRuntime, FakeTask


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


async def test_what_ends_before_its_start_is_noted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before it was started, for those who subtract."""
    container = await make(engine, "true")
    late = time.time_ns() + 10**12
    monkeypatch.setattr(times, "now", lambda: late)
    await container_start.start(engine.containers, container)
    assert await ended(container) == 0
    assert container.record.state.finished_at == container.record.state.started_at == late


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
    async with asyncio.timeout(60):
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
    async with asyncio.timeout(60):
        assert (await anext(source))["Action"] == "health_status: unhealthy"
        mark.touch()
        assert (await anext(source))["Action"] == "health_status: healthy"
    await source.aclose()
    assert container_inspect.state(container)["Health"]["Log"][-1]["ExitCode"] == 0
    await container_stop.kill(engine.containers, container)
    await ended(container)
    assert container_inspect.state(container)["Health"]["Status"] == "unhealthy"


@pytest.mark.parametrize("refused", [True, False])
async def test_a_pause_in_the_middle_of_a_health_check(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """The check cannot be run, or is frozen until its time is over: neither is a failure of it."""
    execs, paused = engine.containers.execs, asyncio.Event()
    capture = execs.capture

    async def interrupted(container: Container, config: ExecConfig, seconds: float) -> tuple[int, str]:
        if paused.is_set():
            return await capture(container, config, seconds)
        await container_pause.pause(engine.containers, container)
        paused.set()
        return await capture(container, config, seconds) if refused else (-1, "Health check exceeded timeout (1s)")

    monkeypatch.setattr(execs, "capture", interrupted)
    check = {"Test": ["CMD", "true"], "Interval": 20_000_000, "Retries": 1}
    container, _ = await create(engine, {"Image": "test", "Cmd": ["sleep", "60"], "Healthcheck": check})
    await container_start.start(engine.containers, container)
    source = engine.events.listen(since=1, filters=Filters({"event": ["health_status"]}))
    async with asyncio.timeout(60):
        await paused.wait()
        await container_pause.unpause(engine.containers, container)
        assert (await anext(source))["Action"] == "health_status: healthy"
    await source.aclose()
    assert all(each["ExitCode"] == 0 for each in container_inspect.state(container)["Health"]["Log"])


async def test_a_client_that_attaches_during_a_start(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too late for the task's creation, too early to find the task: it is served all the same."""
    container = await make(engine, "sleep", "60")
    runtime, ours, theirs = engine.containers.runtime, *socket.socketpair()
    create = runtime.create

    async def create_and_meet(bundle: Bundle, streams: Sequence[Stream] = ()) -> Task:
        task = await create(bundle, streams)
        stream = Stream(theirs.detach(), stdin=False, stdout=True, stderr=True, mux=False)
        await container_attach.attach(engine.containers, container, container.early, stream, True, False)
        return task

    monkeypatch.setattr(runtime, "create", create_and_meet)
    await container_start.start(engine.containers, container)
    assert not container.early.take()
    await container_stop.kill(engine.containers, container)
    with ours:
        ours.settimeout(60)
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
        async with asyncio.timeout(60):
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
    async with asyncio.timeout(60):
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
    async with asyncio.timeout(60):
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
    async with asyncio.timeout(60):
        await asyncio.wait({stopping})
        assert verb != "remove" or (stopping.result() is None and container.gone)
        while container.record.state.running:
            await asyncio.sleep(0.01)
    assert container.record.stopped and container.restart is None and status(container) in ("exited", "removing")


async def test_the_code_of_a_start_that_fails(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """128, unless a run before has left another one: as dockerd."""
    new, old = await make(engine, "true"), await run(engine, "sh", "-c", "exit 3")
    assert await ended(old) == 3

    async def fail(bundle: Bundle, streams: Sequence[Stream] = ()) -> Task:
        raise Conflict("no such namespace")

    monkeypatch.setattr(engine.containers.runtime, "create", fail)
    for container, code in ((new, 128), (old, 3)):
        next_end = container_wait.future(container, "next-exit")
        with pytest.raises(Conflict):
            await container_start.start(engine.containers, container)
        assert ((await next_end).status, (await next_end).error) == (code, "")  # the error is the answer to the start
        assert (container.record.state.exit_code, container.record.state.error) == (code, "no such namespace")


async def test_why_a_run_has_ended_is_no_error_of_a_wait(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients take one for a failure, and lose the status: `docker run` would end with 125. A failed start is one."""
    container = await run(engine, "sleep", "60")
    waiting = [container_wait.future(container, "not-running"), container_wait.future(container, "next-exit")]
    task = container.task
    assert isinstance(task, FakeTask)
    task.program.reason = "its guest has ended: Kernel panic"
    await task.signal(9)
    async with asyncio.timeout(60):
        found = [await future for future in (*waiting, container_wait.future(container, "not-running"))]
    assert {(exit.status, exit.error) for exit in found} == {(137, "")}
    assert container.record.state.error == "its guest has ended: Kernel panic"

    async def fail(bundle: Bundle, streams: Sequence[Stream] = ()) -> Task:
        raise Conflict("no such namespace")

    monkeypatch.setattr(engine.containers.runtime, "create", fail)
    with pytest.raises(Conflict):
        await container_start.start(engine.containers, container)
    assert (await container_wait.future(container, "not-running")).error == "no such namespace"


async def test_a_kill_between_two_starts_is_an_event(engine: Engine) -> None:
    container = await make(engine, "false", RestartPolicy={"Name": "always"})
    await container_start.start(engine.containers, container)
    async with asyncio.timeout(60):
        while status(container) != "restarting":
            await asyncio.sleep(0)
    container.restart_delay = 60.0
    await container_stop.kill(engine.containers, container)
    assert engine.events.history[-1]["Action"] == "kill" and status(container) == "exited"


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
    async with asyncio.timeout(60):
        assert [(await future).status for future in waiting] == [1, 1]  # the code of the run before stays
        assert ["cannot join" in future.result().error for future in waiting] == [True, True]
        if client:
            with pytest.raises(Conflict, match="cannot join"):
                await starting
    done = [e["Action"] for e in engine.events.history if e["Type"] == "container"]
    assert done == ["create", "start", "die", "die"]  # the second one for who knows of events alone
    assert status(container) == "exited" and (client or "cannot join network" in caplog.text)
