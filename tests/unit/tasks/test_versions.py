"""A daemon beside a supervisor of version 1, whose frames are written here as it writes them."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from corten.errors import Failed, NotFound, StartFailed, Unsupported
from corten.supervisor import wire
from corten.tasks.contract import Bundle, ExecSpec, LogFile
from corten.tasks.task import SupervisedTask

Json = dict[str, Any]


class Supervisor:
    """Answers each request with the next of `answers`, and keeps what it was asked."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.decoder = wire.Decoder()
        self.asked: list[Json] = []

    async def answer(self, answer: Json) -> Json:
        loop = asyncio.get_running_loop()
        while (frame := self.decoder.next()) is None:
            self.decoder.feed(await loop.sock_recv(self.connection, 65536))
        self.asked.append(frame[0])
        wire.send(self.connection, {"id": frame[0]["id"], **answer})
        return frame[0]


@asynccontextmanager
async def task(tmp_path: Path, id: str, version: int, execs: Json) -> AsyncIterator[tuple[SupervisedTask, Supervisor]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    bundle = Bundle(id, tmp_path, (), LogFile(None))
    made = SupervisedTask(bundle, tmp_path / "run", ours, lambda id, kind, attributes: None)
    hello = {"event": "hello", "version": version, "pid": 4, "started": True, "paused": False, "execs": execs}
    wire.send(theirs, hello)
    await made.adopted()
    yield made, Supervisor(theirs)
    made.close()
    theirs.close()


@pytest.fixture
def child() -> Any:
    """A process in a control group that is called like its task."""
    with open("/proc/self/cgroup") as file:
        group = file.readline().strip()
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process, group
        process.kill()


async def test_its_errors(tmp_path: Path) -> None:
    failed = {"kind": "ChildFailed", "text": "no such file", "code": 127, "errno": 2}
    async with task(tmp_path, "c1", 1, {}) as (made, supervisor):
        process = {"args": ["nosuch"]}
        asking = asyncio.ensure_future(made.exec(ExecSpec("e1", process), None))
        request = await supervisor.answer({"error": failed})
        with pytest.raises(StartFailed, match="no such file") as error:
            await asking
        assert error.value.exit_code == 127
        assert request["do"] == "exec" and request["exec"]["process"] == process and "stream" not in request
        for body, kind in (
            ({"kind": "ValueError", "text": "no control group", "code": 125, "errno": 0}, Failed),
            ({"kind": "FileNotFoundError", "text": "gone: /a", "code": 125, "errno": 2}, Failed),
            ({"kind": "Unsupported", "text": "no freezer", "code": 125, "errno": 0}, Unsupported),
        ):
            pausing = asyncio.ensure_future(made.pause())
            assert (await supervisor.answer({"error": body}))["do"] == "pause"
            with pytest.raises(kind) as raised:
                await pausing
            assert type(raised.value) is kind and str(raised.value) == body["text"]


async def test_an_exec_is_killed_without_its_help(tmp_path: Path, child: tuple[subprocess.Popen[bytes], str]) -> None:
    """It has no verb for that, and would take the signal for one to the container."""
    process, group = child
    execs = {"e1": {"pid": process.pid, "status": None}}
    async with task(tmp_path, group, 1, execs) as (made, supervisor):
        assert made.exec_runs("e1")
        await made.signal_exec("e1", signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        assert not made.exec_runs("e1")
        with pytest.raises(NotFound):
            await made.signal_exec("e1", signal.SIGKILL)
        with pytest.raises(NotFound):
            await made.signal_exec("e2", signal.SIGKILL)
        with pytest.raises(BlockingIOError):
            supervisor.connection.recv(1)


async def test_a_number_that_has_become_another_s(tmp_path: Path, child: tuple[subprocess.Popen[bytes], str]) -> None:
    process, _ = child
    async with task(tmp_path, "another", 1, {"e1": {"pid": process.pid, "status": None}}) as (made, _supervisor):
        with pytest.raises(NotFound):
            await made.signal_exec("e1", signal.SIGKILL)
    assert process.poll() is None


async def test_it_cannot_look_into_its_container(tmp_path: Path) -> None:
    async with task(tmp_path, "c1", 2, {}) as (made, supervisor):
        with pytest.raises(Unsupported, match="older version, whose supervisor cannot work on a tree: restart it"):
            made.trees()
        with pytest.raises(Unsupported, match="cannot attach an interface"):
            await made.attach_interface("eth0", 0)
        with pytest.raises(Unsupported, match="cannot detach an interface"):
            await made.detach_interface("eth0")
        with pytest.raises(BlockingIOError):
            supervisor.connection.recv(1)


async def test_since_version_2_the_supervisor_does_it(tmp_path: Path) -> None:
    async with task(tmp_path, "c1", 2, {"e1": {"pid": 7, "status": None}}) as (made, supervisor):
        asking = asyncio.ensure_future(made.signal_exec("e1", 9))
        request = await supervisor.answer({"ok": {}})
        await asking
    assert (request["do"], request["exec"], request["signal"]) == ("signal exec", "e1", 9)
