"""Execs that cannot be started: what the client hears, and what becomes of its connection."""

from __future__ import annotations

import signal
import socket

import pytest

from corten.engine.containers import execs
from corten.engine.containers import start as container_start
from corten.engine.containers.container import Container
from corten.errors import Conflict, Corrupt, CortenError, NotFound, StartFailed
from corten.spec.docker.exec import ExecConfig
from corten.tasks.contract import ExecSpec, Stream
from docker_json import create
from fakes.engine import PlainEngine
from fakes.runtime import FakeTask


@pytest.fixture
async def running(engine: PlainEngine) -> Container:
    container, _ = await create(engine, {"Image": "test", "Cmd": ["sleep", "60"]}, name="box")
    await container_start.start(engine.containers, container)
    return container


def stream() -> tuple[socket.socket, Stream]:
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    return ours, Stream(theirs.detach())


async def test_what_never_reaches_the_task_is_closed(
    engine: PlainEngine, running: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second start, one in a paused container, one whose specification cannot be read."""
    exec = engine.execs.create(running, ExecConfig(cmd=["sleep", "60"]))
    await engine.execs.start(exec, None)
    again = engine.execs.create(running, ExecConfig(cmd=["true"]))
    unread = engine.execs.create(running, ExecConfig(cmd=["true"]))
    (running.bundle / "config.json").rename(running.bundle / "kept.json")
    for started, error in ((exec, Conflict), (unread, Corrupt)):
        ours, theirs = stream()
        with pytest.raises(error):
            await engine.execs.start(started, theirs)
        assert ours.recv(1) == b"", "no process has a descriptor of it"
        ours.close()
    running.standing.add("a commit")
    ours, theirs = stream()
    with pytest.raises(Conflict, match="paused"):
        await engine.execs.start(again, theirs)
    assert ours.recv(1) == b""
    ours.close()
    running.standing.clear()


@pytest.mark.parametrize(
    ("error", "ends", "heard"),
    [
        (StartFailed("join namespaces: No such process", 125), True, Conflict),
        (NotFound("control group does not exist"), True, Conflict),
        (StartFailed("join namespaces: No such process", 125), False, StartFailed),
        (StartFailed("exec: not found", 127), True, StartFailed),
    ],
)
async def test_a_container_that_is_just_ending(
    engine: PlainEngine,
    running: Container,
    monkeypatch: pytest.MonkeyPatch,
    error: CortenError,
    ends: bool,
    heard: type[CortenError],
) -> None:
    """What could not be done because of that is no reason for a client; what the program is to blame for is."""
    task = running.task
    assert isinstance(task, FakeTask)
    monkeypatch.setattr(execs, "_ENDING", 5.0 if ends else 0.01)

    async def refused(spec: ExecSpec, stream: Stream | None) -> int:
        if ends:
            await task.signal(signal.SIGKILL)
        raise error

    monkeypatch.setattr(task, "exec", refused)
    exec = engine.execs.create(running, ExecConfig(cmd=["true"]))
    with pytest.raises(heard) as raised:
        await engine.execs.start(exec, None)
    assert type(raised.value) is heard
    if heard is Conflict:
        assert str(raised.value) == f"container {running.id} is not running"
    assert exec.state == "ended"
