"""A daemon beside a supervisor of version 1, whose frames are written here as it writes them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from corten.errors import Conflict, Failed, NotFound, StartFailed, Unsupported
from corten.instance.contract import Refresh
from corten.supervisor import endings, wire
from corten.tasks import task as tasks
from corten.tasks.answers import readable
from corten.tasks.contract import Bundle, ExecSpec, Exit, LogFile
from corten.tasks.task import SupervisedTask

Json = dict[str, Any]


class Supervisor:
    """Answers each request with the next of `answers`, and keeps what it was asked."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.decoder = wire.Decoder()
        self.asked: list[Json] = []

    async def next(self) -> Json:
        while (frame := self.decoder.next()) is None:
            await readable(self.connection.fileno())
            wire.receive(self.connection, self.decoder)
        for fd in frame[1]:
            os.close(fd)
        self.asked.append(frame[0])
        return frame[0]

    async def answer(self, answer: Json) -> Json:
        request = await self.next()
        wire.send(self.connection, {"id": request["id"], **answer})
        return request


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


async def test_a_greeting_that_comes_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then state.json says what there is to know of it, when there is one."""
    monkeypatch.setattr(tasks, "_GREETING", 0.0)
    (tmp_path / "run").mkdir()
    endings.write_state(str(tmp_path / "run"), {"pid": 4, "supervisor": 5})
    events: asyncio.Queue[tuple[str, str, Json]] = asyncio.Queue()
    ours, theirs = socket.socketpair()
    bundle = Bundle("c1", tmp_path, (), LogFile(None))
    made = SupervisedTask(bundle, tmp_path / "run", ours, lambda *event: events.put_nowait(event))
    await made.adopted()
    assert (made.pid, made.started, made.paused) == (4, True, False)
    assert "its supervisor does not answer" in caplog.text
    wire.send(theirs, {"event": "hello", "version": 2, "pid": 4, "started": True, "paused": True, "execs": {}})
    assert await events.get() == ("c1", "reached", {})
    assert made.paused
    made.close()
    theirs.close()


HELLO = {"event": "hello", "version": 2, "pid": 4, "started": True, "paused": False, "execs": {}}
ENDING = {"event": "exit", "status": 3, "at": 1e9, "oom_killed": False, "error": ""}


@pytest.mark.parametrize(
    "frame",
    [
        *({"fds": float("inf")}, {"fds": -1}, {}, {"id": []}, {"event": "exec_exit", "exec": [], "status": 1}),
        *({"event": "exec_exit", "exec": "e1", "status": value} for value in (None, float("inf"), "x")),
        *({**HELLO, key: value} for key in ("pid", "version") for value in (None, float("nan"), "x")),
        *({**HELLO, "execs": value} for value in ([1], {"e": 1}, {"e": {"pid": float("inf"), "status": None}})),
        *({**ENDING, "status": value} for value in (float("inf"), -1, 256, "3", None)),
        *({**ENDING, "at": value} for value in (float("inf"), float("nan"), -1, 1e300, "now")),
        {**ENDING, "error": None},
    ],
    ids=str,
)
async def test_what_no_supervisor_says_ends_the_conversation(tmp_path: Path, frame: Json) -> None:
    """Nothing is raised in the event loop, and requests under way are answered."""
    async with task(tmp_path, "c1", 2, {}) as (made, supervisor):
        asking = asyncio.ensure_future(made.pids())
        await asyncio.sleep(0)
        read, write = os.pipe()
        data = json.dumps({"fds": 1, **frame}).encode()
        wire.send_some(supervisor.connection, struct.pack(">I", len(data)) + data, [write])
        os.close(write)
        assert (await made.wait()).status == 137
        with pytest.raises(Conflict):
            await asking
        with open(read, "rb") as reader:
            assert reader.read() == b"", "what it sent is closed"


async def test_what_a_later_supervisor_says_is_ignored(tmp_path: Path) -> None:
    async with task(tmp_path, "c1", 2, {}) as (made, supervisor):
        wire.send(supervisor.connection, {"event": "hibernated", "at": float("inf")})
        wire.send(supervisor.connection, ENDING)
        assert (await made.wait()).status == 3


@pytest.mark.parametrize(
    "answer",
    [{}, {"error": []}, {"error": {"errno": 1e999}}, {"error": {"kind": "StartFailed", "code": 1e999}}],
    ids=str,
)
async def test_an_answer_that_is_none(tmp_path: Path, answer: Json) -> None:
    async with task(tmp_path, "c1", 2, {}) as (made, supervisor):
        asking = asyncio.ensure_future(made.exec(ExecSpec("e1", {}), None))
        await supervisor.answer(answer)
        with pytest.raises(StartFailed):
            await asking


@pytest.mark.parametrize("text", ["", "{", "[]", '{"status": 1e999}', json.dumps({**ENDING, "at": 1e300}), "[" * 10**5])
def test_an_exit_that_was_not_written_by_us(tmp_path: Path, text: str) -> None:
    (tmp_path / "exit.json").write_text(text)
    assert endings.read_exit(str(tmp_path)) is None
    (tmp_path / "state.json").write_text(text)
    assert endings.read_state(str(tmp_path)) is None


async def test_an_exec_is_killed_without_its_help(tmp_path: Path, child: tuple[subprocess.Popen[bytes], str]) -> None:
    """It has no verb for that, and would take the signal for one to the container."""
    process, group = child
    execs = {"e1": {"pid": process.pid, "status": None}}
    async with task(tmp_path, group, 1, execs) as (made, supervisor):
        assert await made.exec_runs("e1")
        await made.signal_exec("e1", signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        assert not await made.exec_runs("e1")
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


async def test_what_it_has_not_heard_of_it_is_not_asked(tmp_path: Path) -> None:
    """Before version 4 no connections are kept: who waits is answered by the daemon or not at all."""
    async with task(tmp_path, "c1", 3, {}) as (made, supervisor):
        made.hold("a", 0)
        made.release("a", answer=True)
        with pytest.raises(BlockingIOError):
            supervisor.connection.recv(1)


async def test_since_version_4_it_keeps_connections(tmp_path: Path) -> None:
    async with task(tmp_path, "c1", 4, {}) as (made, supervisor):
        made.hold("a", supervisor.connection.fileno())
        request = await supervisor.answer({"ok": {}})
        assert (request["do"], request["key"], request["fds"]) == ("hold", "a", 1)
        made.release("a", answer=True)
        request = await supervisor.answer({"ok": {}})
        assert (request["do"], request["key"], request["answer"]) == ("release", "a", True)
        await made.write_log()  # of version 5
        with pytest.raises(BlockingIOError):
            supervisor.connection.recv(1)


async def test_since_version_8_there_is_no_answer_to_that(tmp_path: Path) -> None:
    async with task(tmp_path, "c1", 8, {}) as (made, supervisor):
        made.hold("a", supervisor.connection.fileno())
        made.release("a", answer=False)
        frames = [await supervisor.next(), await supervisor.next()]
        assert [(frame["do"], "id" in frame) for frame in frames] == [("hold", False), ("release", False)]


async def test_behind_the_end_of_a_run_no_connection_is_kept(tmp_path: Path) -> None:
    """The daemon knows the end, and answers itself."""
    async with task(tmp_path, "c1", 4, {}) as (made, supervisor):
        made.end(Exit(0, 0.0))
        made.hold("a", supervisor.connection.fileno())
        with pytest.raises(BlockingIOError):
            supervisor.connection.recv(1)


async def test_since_version_5_it_writes_the_log(tmp_path: Path) -> None:
    async with task(tmp_path, "c1", 5, {}) as (made, supervisor):
        asking = asyncio.ensure_future(made.write_log())
        assert (await supervisor.answer({"ok": {}}))["do"] == "write log"
        await asking


async def test_before_version_6_it_changes_no_networks(tmp_path: Path) -> None:
    async with task(tmp_path, "c1", 5, {}) as (made, supervisor):
        with pytest.raises(Unsupported, match="cannot change its networks: restart it"):
            await made.change_network(Refresh())
        with pytest.raises(BlockingIOError):
            supervisor.connection.recv(1)
    async with task(tmp_path, "c1", 6, {}) as (made, supervisor):
        asking = asyncio.ensure_future(made.change_network(Refresh()))
        assert (await supervisor.answer({"ok": {}}))["do"] == "refresh files"
        await asking


async def test_since_version_6_it_reopens_the_log(tmp_path: Path) -> None:
    async with task(tmp_path, "c1", 6, {}) as (made, supervisor):
        asking = asyncio.ensure_future(made.reopen_log())
        assert (await supervisor.answer({"ok": {}}))["do"] == "reopen log"
        await asking
    async with task(tmp_path, "c2", 5, {}) as (made, _):
        with pytest.raises(Unsupported, match="older"):
            await made.reopen_log()


async def test_before_version_7_it_connects_to_no_port(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        async with task(tmp_path, "c1", 6, {}) as (made, supervisor):
            with pytest.raises(Unsupported, match="cannot connect to its ports: restart it"):
                await made.dial(80, theirs.fileno())
            with pytest.raises(BlockingIOError):
                supervisor.connection.recv(1)
        async with task(tmp_path, "c1", 7, {}) as (made, supervisor):
            asking = asyncio.ensure_future(made.dial(80, theirs.fileno()))
            request = await supervisor.answer({"ok": {}})
            assert (request["do"], request["port"]) == ("dial", 80)
            await asking
