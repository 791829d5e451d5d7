"""What the engine expects of `Runtime` and `Task`: ours, ours by a helper, runc, and the tasks of the tests' engine.

test_runtime.py has what only tasks in namespaces can show. What the fake cannot do, `fakes.runtime` says.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from corten.errors import Conflict, NotFound, StartFailed
from corten.tasks.contract import Bundle, ExecSpec, LogFile, Runtime, Stream, Task
from corten.tasks.supervisors import Supervisors
from e2e_parts.patience import PATIENCE
from fakes.program import end_programs
from fakes.runtime import FakeRuntime
from runtime_world import BUSYBOX, RUNTIMES, RuntimeWorld

Json = dict[str, Any]


class World(ABC):
    """A runtime, and bundles to make tasks of. `events` are those that the runtime has published."""

    runtime: Runtime
    events: list[tuple[str, str, Json]]

    @abstractmethod
    def bundle(self, *command: str, **options: Any) -> Bundle: ...

    @abstractmethod
    def later(self) -> Runtime:
        """Another daemon's."""

    @abstractmethod
    async def close(self) -> None: ...

    async def created(self, *command: str, streams: Sequence[Stream] = (), **options: Any) -> Task:
        return await self.runtime.create(self.bundle(*command, **options), streams)

    async def started(self, *command: str, streams: Sequence[Stream] = (), **options: Any) -> Task:
        task = await self.created(*command, streams=streams, **options)
        await task.start()
        return task


class Supervised(World):
    def __init__(self, root: Path, runtime: str) -> None:
        self._inner = RuntimeWorld(root, runtime)
        self.runtime, self.events = self._inner.supervisors, self._inner.events

    def bundle(self, *command: str, **options: Any) -> Bundle:
        return self._inner.bundle(*command, **options)

    def later(self) -> Runtime:
        return Supervisors(self._inner.launcher, self._inner.root / "run")

    async def close(self) -> None:
        await self._inner.close()


class Plain(World):
    def __init__(self, root: Path) -> None:
        self.events = []
        self._root = root
        self._fake = self.runtime = FakeRuntime(lambda *event: self.events.append(event))
        self._count = 0

    def bundle(self, *command: str, **options: Any) -> Bundle:
        self._count += 1
        path = self._root / f"{self._count}"
        path.mkdir()
        process = {"args": list(command), "env": ["PATH=/usr/bin:/bin"]}
        (path / "config.json").write_text(json.dumps({"process": process}))
        return Bundle(path.name, path, (), **{"log": LogFile(path / "log"), **options})

    def later(self) -> Runtime:
        return self._fake

    async def close(self) -> None:
        await end_programs()
        assert not self._fake.tasks


@pytest.fixture(params=[*RUNTIMES, "fake"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "fake":
        world: World = Plain(tmp_path)
    elif os.geteuid() != 0 or not os.path.exists(BUSYBOX):
        pytest.skip("needs root, and Debian's busybox-static")
    elif request.param.startswith("/") and not os.path.exists(request.param):
        pytest.skip(f"needs {request.param} (Debian's runc)")
    else:
        world = Supervised(tmp_path, request.param)
    yield world
    await world.close()


async def over(task: Task) -> int:
    """Kill it, and take it away; its status."""
    await task.signal(signal.SIGKILL)
    status = (await task.wait()).status
    await task.delete()
    return status


def pair(**options: Any) -> tuple[socket.socket, Stream]:
    """A client's end, which waits, and what is given to a task."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    return ours, Stream(theirs.detach(), **options)


async def until(ours: socket.socket, wanted: bytes) -> bytes:
    """All bytes up to and with these."""
    text = b""
    while wanted not in text:
        piece = await asyncio.to_thread(ours.recv, 4096)
        assert piece, text
        text += piece
    return text


async def rest(ours: socket.socket) -> bytes:
    """All bytes until the end of the stream."""
    return b"".join([piece async for piece in _pieces(ours)])


async def _pieces(ours: socket.socket) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(ours.recv, 4096):
        yield piece


def process(*arguments: str) -> Json:
    return {"args": list(arguments), "env": ["PATH=/usr/bin:/bin"], "cwd": "/"}


def terminal(rows: int, columns: int) -> Json:
    """That part of a process in a specification."""
    return {"terminal": True, "consoleSize": {"height": rows, "width": columns}}


def records(bundle: Bundle) -> list[Json]:
    assert bundle.log.path is not None
    return [json.loads(line) for line in bundle.log.path.read_text().splitlines()]


# ---------------------------------------------------------------------------------------------------- start and end


async def test_its_status_and_its_log(world: World) -> None:
    before = time.time()
    bundle = world.bundle("sh", "-c", "echo out; echo err >&2; exit 3")
    task = await world.runtime.create(bundle)
    phases = await task.start()
    assert task.id == bundle.id and phases and all(seconds >= 0 for seconds in phases.values())
    ending = await task.wait()
    assert (ending.status, ending.oom_killed, ending.error) == (3, False, "")
    assert before - 1 < ending.at < time.time() + 1
    assert sorted((one["stream"], one["log"]) for one in records(bundle)) == [("stderr", "err\n"), ("stdout", "out\n")]
    await task.delete()
    await task.delete()
    assert await task.wait() == ending


async def test_its_log_until_now(world: World) -> None:
    bundle = world.bundle("sh", "-c", "echo x; exec sleep 1000")
    task = await world.runtime.create(bundle)
    await task.start()
    async with asyncio.timeout(60):
        while not records(bundle):
            await task.write_log()
    await over(task)
    with pytest.raises(Conflict):
        await task.write_log()


async def test_log_options(world: World) -> None:
    task = await world.started("echo", "x", log=LogFile(None))
    assert (await task.wait()).status == 0
    await task.delete()
    bundle = world.bundle("echo", "x")
    labelled = LogFile(bundle.log.path, labels={"a": "b"})
    task = await world.created("sh", "-c", "echo x; printf rest", log=labelled)
    await task.start()
    await task.wait()
    await task.delete()
    assert [(one["log"], one["attrs"]) for one in records(bundle)] == [("x\n", {"a": "b"}), ("rest", {"a": "b"})]


@pytest.mark.parametrize(("command", "code"), [("nosuch", 127), ("/etc/passwd", 126), ("/etc", 126)])
async def test_what_cannot_be_executed_has_its_code(world: World, command: str, code: int) -> None:
    task = None
    with pytest.raises(StartFailed) as failed:
        task = await world.created(command)
        await task.start()
    assert failed.value.exit_code == code
    if task is not None:
        await task.delete()


async def test_without_a_place_for_its_log(world: World) -> None:
    bundle = world.bundle("sleep", "1000")
    assert bundle.log.path is not None
    bundle.log.path.mkdir()
    ours, stream = pair()
    with pytest.raises(StartFailed, match="Is a directory"):
        await world.runtime.create(bundle, [stream])
    with ours:
        assert await rest(ours) == b""  # the stream was the runtime's
    assert await world.later().adopt(bundle) is None


async def test_created_and_never_started(world: World) -> None:
    ours, stream = pair()
    bundle = world.bundle("sleep", "1000")
    task = await world.runtime.create(bundle, [stream])
    await task.delete()
    await task.delete()
    with ours:
        assert await rest(ours) == b""
    assert (await task.wait()).status == 137
    assert await world.later().adopt(bundle) is None


async def test_a_signal_ends_it(world: World) -> None:
    task = await world.started("sleep", "1000")
    waiting = [asyncio.ensure_future(task.wait()) for _ in range(3)]
    await task.signal(signal.SIGKILL)
    assert {(await each).status for each in waiting} == {137}
    await task.delete()


async def test_a_signal_that_is_caught(world: World) -> None:
    ours, stream = pair(stdin=False)
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    task = await world.started("sh", "-c", script, streams=[stream])
    with ours:
        await until(ours, b"ready")
    await task.signal(signal.SIGTERM)
    assert (await task.wait()).status == 5
    await task.delete()


async def test_destroyed(world: World) -> None:
    task = await world.started("sleep", "1000")
    await task.destroy()
    assert (await asyncio.wait_for(task.wait(), 1)).status == 137
    await task.destroy()
    await task.delete()


async def test_ended_by_its_bundle_alone(world: World) -> None:
    bundle = world.bundle("sleep", "1000")
    await world.runtime.end(bundle.path)  # there is none yet
    task = await world.runtime.create(bundle)
    await task.start()
    await world.runtime.end(bundle.path)
    assert (await asyncio.wait_for(task.wait(), 60)).status == 137
    await task.delete()
    await world.runtime.end(bundle.path)


async def test_one_that_has_ended_refuses_what_needs_a_process(world: World) -> None:
    task = await world.started("sh", "-c", "exit 0")
    await task.wait()
    await task.delete()
    ours, stream = pair()
    other, second = pair()
    for attempt in (
        lambda: task.signal(signal.SIGTERM),
        task.pause,
        task.resume,
        lambda: task.resize(10, 10),
        lambda: task.update({}),
        task.pids,
        task.stats,
        lambda: task.attach(stream),
        lambda: task.exec(ExecSpec("e", process("true")), second),
    ):
        with pytest.raises(Conflict, match=f"container {task.id} is not running"):
            await attempt()
    assert task.open_tree() == ()
    with pytest.raises(NotFound):
        task.open_namespace("network")
    assert await task.interface_counters() == {}
    for client in (ours, other):
        with client:
            assert await rest(client) == b""


async def test_another_daemon_adopts_it(world: World) -> None:
    bundle = world.bundle("sleep", "1000")
    assert await world.later().adopt(bundle) is None
    task = await world.runtime.create(bundle)
    await task.start()
    again = await world.later().adopt(bundle)
    assert again is not None and (again.id, again.pid, again.paused) == (task.id, task.pid, False)
    await again.signal(signal.SIGKILL)
    ending = await again.wait()
    assert ending.status == (await task.wait()).status == 137
    await task.delete()
    await again.delete()
    ended = await world.later().adopt(bundle)
    assert ended is not None and abs((await ended.wait()).at - ending.at) < 1
    assert (await ended.wait()).status == 137
    await ended.delete()


async def test_one_that_is_paused_is_adopted_as_such(world: World) -> None:
    bundle = world.bundle("sleep", "1000")
    task = await world.runtime.create(bundle)
    await task.start()
    await task.pause()
    again = await world.later().adopt(bundle)
    assert again is not None and again.paused
    await again.resume()
    assert await over(again) == 137
    await task.delete()


# ---------------------------------------------------------------------------------------------------------- streams


async def test_attached_before_the_start_nothing_is_missed(world: World) -> None:
    ours, stream = pair(mux=True, early=b"early ")
    task = await world.started("cat", streams=[stream], open_stdin=True, stdin_once=True)
    with ours:
        ours.sendall(b"late")
        ours.shutdown(socket.SHUT_WR)
        assert (await task.wait()).status == 0
        await task.delete()
        received = await rest(ours)
    payload = b""
    while received:
        size = int.from_bytes(received[4:8], "big")
        assert received[:4] == b"\1\0\0\0"
        payload, received = payload + received[8 : 8 + size], received[8 + size :]
    assert payload == b"early late"


async def test_each_client_has_the_streams_that_it_asked_for(world: World) -> None:
    out, first = pair(stdin=False, stderr=False, mux=True)
    err, second = pair(stdin=False, stdout=False, mux=True, replay=b"before ")
    task = await world.started("sh", "-c", "echo out; echo err >&2", streams=[first, second])
    await task.wait()
    await task.delete()
    with out, err:
        assert await rest(out) == b"\1\0\0\0\0\0\0\4out\n"
        assert await rest(err) == b"before \2\0\0\0\0\0\0\4err\n"


async def test_any_number_of_clients_waits_for_a_start(world: World) -> None:
    """One frame takes 64 descriptors, and one call of sendmsg(2) 253."""
    pairs = [pair(stdin=False) for _ in range(260)]
    task = await world.started("echo", "out", streams=[stream for _, stream in pairs])
    await task.wait()
    await task.delete()
    for ours, _ in pairs:
        with ours:
            assert await rest(ours) == b"out\n"


async def test_each_client_has_the_streams_that_it_asked_for_without_frames(world: World) -> None:
    out, first = pair(stdin=False, stderr=False)
    err, second = pair(stdin=False, stdout=False)
    nothing, third = pair(stdin=False, stdout=False, stderr=False)
    task = await world.started("sh", "-c", "echo out; echo err >&2", streams=[first, second, third])
    await task.wait()
    await task.delete()
    with out, err, nothing:
        assert [await rest(ours) for ours in (out, err, nothing)] == [b"out\n", b"err\n", b""]


async def test_a_client_that_attaches_while_it_runs(world: World) -> None:
    task = await world.started("cat", open_stdin=True)
    for text in (b"one\n", b"two\n"):  # the input stays open when a client is gone: it is not `stdin_once`
        ours, stream = pair()
        await task.attach(stream)
        with ours:
            ours.sendall(text)
            ours.shutdown(socket.SHUT_WR)
            await until(ours, text)
    assert await over(task) == 137


async def test_a_client_that_disconnects_ends_nothing(world: World) -> None:
    ours, stream = pair()
    watcher, other = pair(stdin=False)
    script = "read a; while :; do echo x; sleep 0.01; done"
    task = await world.started("sh", "-c", script, streams=[stream, other], open_stdin=True)
    ours.sendall(b"go\n")
    await until(ours, b"x")
    ours.close()
    with watcher:
        await until(watcher, b"x\n" * 20)
    assert await over(task) == 137


async def test_a_terminal_has_its_size(world: World) -> None:
    ours, stream = pair()
    script = "stty size; read x; stty size; sleep 1000"
    task = await world.created(
        "sh", "-c", script, streams=[stream], terminal=True, open_stdin=True, console_size=(24, 80)
    )
    await task.start()
    with ours:
        await until(ours, b"24 80\r\n")
        await task.resize(31, 97)
        ours.sendall(b"\n")
        await until(ours, b"31 97\r\n")
    assert await over(task) == 137


async def test_a_size_before_the_start(world: World) -> None:
    ours, stream = pair()
    task = await world.created("sh", "-c", "stty size; sleep 1000", streams=[stream], terminal=True, open_stdin=True)
    await task.resize(33, 99)
    await task.start()
    with ours:
        await until(ours, b"33 99\r\n")
    assert await over(task) == 137


# ------------------------------------------------------------------------------------------------------------ execs


async def test_an_exec_has_its_own_status_and_streams(world: World) -> None:
    task = await world.started("sleep", "1000")
    ours, stream = pair(mux=True)
    pid = await task.exec(ExecSpec("e1", process("sh", "-c", "read a; echo $a; exit 7"), stdin=True), stream)
    assert pid > 1 and pid != task.pid
    with ours:
        ours.sendall(b"text\n")
        assert (await task.wait_exec("e1")).status == 7
        assert await rest(ours) == b"\1\0\0\0\0\0\0\5text\n"
    with pytest.raises(NotFound):  # its end is asked for once, and not kept
        await task.wait_exec("e1")
    assert await over(task) == 137
    assert (task.id, "exec_exit", {"exec": "e1", "status": 7}) in world.events


async def test_an_exec_that_cannot_be_executed(world: World) -> None:
    task = await world.started("sleep", "1000")
    for command, code in (("nosuch", 127), ("/etc/passwd", 126)):
        ours, stream = pair(mux=False)
        with pytest.raises(StartFailed) as failed:
            await task.exec(ExecSpec("e1", process(command)), stream)
        assert failed.value.exit_code == code
        with ours:
            said = (await rest(ours)).decode()
        assert said.startswith("OCI runtime exec failed: ") and said.endswith("\r\n")
        assert said.strip().endswith("executable file not found in $PATH" if code == 127 else "permission denied")
        assert not await task.exec_runs("e1")
        with pytest.raises(NotFound):
            await task.wait_exec("e1")
    assert await over(task) == 137
    assert world.events == []


async def test_an_exec_is_killed_alone(world: World) -> None:
    task = await world.started("sleep", "1000")
    pid = await task.exec(ExecSpec("e1", process("sleep", "1000")), None)
    assert await task.exec_runs("e1") and {*(await task.pids())} == {task.pid, pid}
    assert task.execs() == {"e1": pid}
    await task.signal_exec("e1", signal.SIGKILL)
    assert (await task.wait_exec("e1")).status == 137
    assert task.execs() == {}
    for unknown in ("e1", "e2"):
        assert not await task.exec_runs(unknown)
        with pytest.raises(NotFound):
            await task.signal_exec(unknown, signal.SIGKILL)
        with pytest.raises(NotFound):
            await task.wait_exec(unknown)
    assert list(await task.pids()) == [task.pid]
    assert await over(task) == 137


async def test_an_exec_ends_with_its_task(world: World) -> None:
    task = await world.started("sleep", "1000")
    await task.exec(ExecSpec("e1", process("sleep", "1000")), None)
    waiting = asyncio.ensure_future(task.wait_exec("e1"))
    assert await over(task) == 137
    assert (await waiting).status == 137


async def test_an_exec_has_a_terminal(world: World) -> None:
    task = await world.started("sleep", "1000")
    ours, stream = pair()
    script = {**process("sh", "-c", "stty size; read x; stty size"), **terminal(20, 70)}
    await task.exec(ExecSpec("e1", script, terminal=True, stdin=True, console_size=(20, 70)), stream)
    with ours:
        await until(ours, b"20 70\r\n")
        await task.resize(21, 71, "e1")
        ours.sendall(b"\n")
        await until(ours, b"21 71\r\n")
    assert (await task.wait_exec("e1")).status == 0
    assert await over(task) == 137


# -------------------------------------------------------------------------------------------------- while it runs


async def test_what_is_seen_from_outside(world: World) -> None:
    ours, stream = pair()
    command = ["sh", "-c", "echo ready; read x"]
    task = await world.started(*command, streams=[stream], open_stdin=True)
    with ours:
        await until(ours, b"ready\n")  # what is executed just now has no arguments for a moment
    assert os.readlink(task.namespace("network")) == os.readlink(f"/proc/{task.pid}/ns/net")
    fd = task.open_namespace("network")
    assert os.readlink(f"/proc/self/fd/{fd}") == os.readlink(f"/proc/{task.pid}/ns/net")
    os.close(fd)
    assert (task.root() / "etc/passwd").read_text().startswith("root")
    mounts = [line.split() for line in Path(f"/proc/{task.pid}/mountinfo").read_text().splitlines()]
    assert await task.mount_number("/proc") == {where: int(number) for number, _, _, _, where, *_ in mounts}["/proc"]
    with pytest.raises(NotFound, match="has nothing at /nowhere"):
        await task.mount_number("/nowhere")
    shown = await task.processes(["-e", "-o", "pid,args"])
    assert shown == (["PID", "COMMAND"], [[str(task.pid), " ".join(command)]])
    assert await over(task) == 137


async def test_paused_nothing_goes_on(world: World) -> None:
    ours, stream = pair()
    task = await world.started("sh", "-c", "while read a; do echo $a; done", streams=[stream], open_stdin=True)
    with ours:
        ours.sendall(b"one\n")
        await until(ours, b"one\n")
        await task.pause()
        assert task.paused
        ours.sendall(b"two\n")
        await until_stopped(task.pid)
        with pytest.raises(BlockingIOError):
            ours.setblocking(False)
            ours.recv(1)
        with pytest.raises(Conflict, match="paused"):  # in a frozen group it could not begin, and would never answer
            await asyncio.wait_for(task.exec(ExecSpec("e1", process("true")), None), 60)
        ours.settimeout(PATIENCE)
        await task.resume()
        assert not task.paused
        await until(ours, b"two\n")
    assert await over(task) == 137


async def until_stopped(pid: int) -> None:
    """By a signal (T), or by the freezer: D in version 1, a wait channel in version 2."""
    async with asyncio.timeout(60):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("T", "D"):
            await asyncio.sleep(0.01)


async def test_limits_are_changed(world: World) -> None:
    task = await world.started("sleep", "1000")
    await task.update({"pids": {"limit": 33}})
    async with asyncio.timeout(60):
        while (found := await task.stats())["pids"]["current"] > 1:  # threads of runc, until its execve
            await asyncio.sleep(0.01)
    assert (found["pids"]["limit"], found["pids"]["current"]) == (33, 1)
    assert found["cpu"]["usage"]["total"] > 0 and found["memory"]["usage"]["usage"] > 0
    assert await over(task) == 137
