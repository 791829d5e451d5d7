"""What tasks in namespaces can show beside what test_tasks.py asks of all: ours, ours by a helper, and runc."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import signal
import socket
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corten.errors import Conflict, Failed, Invalid, NotFound, StartFailed, Unavailable
from corten.instance.contract import Changes, Export, Fetch, Look, Put
from corten.supervisor.waits import MOST
from corten.tasks import supervisors
from corten.tasks.contract import ExecSpec, Stream, Task
from corten.tasks.host import runs
from corten.tasks.supervisors import Supervisors
from corten.tasks.task import SupervisedTask
from runtime_world import BUSYBOX, RUNTIMES, RuntimeWorld
from taps import tap

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="needs Debian's busybox-static"),
]


@pytest.fixture(params=RUNTIMES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RuntimeWorld]:
    if request.param.startswith("/") and not os.path.exists(request.param):
        pytest.skip(f"needs {request.param} (Debian's runc)")
    world = RuntimeWorld(tmp_path, request.param)
    yield world
    await world.close()


async def test_exec_as_a_user_with_its_own_status(world: RuntimeWorld) -> None:
    task = await world.started("sleep", "1000")
    ours, theirs = socket.socketpair()
    process = {"args": ["sh", "-c", "id -u; exit 7"], "env": ["PATH=/bin"], "cwd": "/", "user": {"username": "bob"}}
    pid = await task.exec(ExecSpec("e1", process), Stream(theirs.detach()))
    assert pid > 1
    assert (await task.wait_exec("e1")).status == 7
    with ours:
        assert ours.recv(100) == b"1000\n"
    with pytest.raises(StartFailed) as failed:
        await task.exec(ExecSpec("e2", {**process, "args": ["nosuch"]}), None)
    assert failed.value.exit_code == 127
    later = Supervisors(world.launcher, world.root / "run")
    again = await later.adopt(task._bundle)
    assert again is not None
    with pytest.raises(NotFound):  # its end is reported once and kept nowhere: there may be one every second for years
        await again.wait_exec("e1")
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()
    await again.delete()
    assert ("exec_exit", {"exec": "e1", "status": 7}) in [event[1:] for event in world.events]


async def test_a_daemon_without_a_descriptor_left_adopts_later(
    world: RuntimeWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it cannot connect to has not ended: nothing of it may be killed or removed."""
    task = await world.started("sleep", "1000")
    reached = asyncio.Event()
    later = Supervisors(world.launcher, world.root / "run", lambda id, kind, attributes: reached.set())
    monkeypatch.setattr(supervisors, "_RETRY", 0.01)
    with monkeypatch.context() as none_left:

        def refused(*_: object) -> socket.socket:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        none_left.setattr("corten.tasks.supervisors.socket.socket", refused)
        again = await later.adopt(task._bundle)
    assert again is not None and again.unreached and again.pid == task.pid
    assert "cannot connect to its supervisor: Too many open files" in caplog.text
    with pytest.raises(Unavailable, match="cannot reach the supervisor"):
        await again.pids()
    trying = asyncio.ensure_future(later.try_again())
    await reached.wait()
    trying.cancel()
    assert task.pid in await again.pids()
    await again.signal(signal.SIGKILL)
    assert (await again.wait()).status == (await task.wait()).status == 137
    await again.delete()
    await task.delete()


async def test_no_input_is_the_container_s_own_null_device(world: RuntimeWorld) -> None:
    """Of the host's, root in the container would be the owner."""
    look = "busybox stat -L -c '%t:%T %d:%i' /proc/self/fd/0; busybox stat -c '%t:%T %d:%i' /dev/null"
    task = await world.started("sh", "-c", f"{look}; exec sleep 1000")
    ours, theirs = socket.socketpair()
    process = {"args": ["sh", "-c", look], "env": ["PATH=/bin"], "cwd": "/"}
    await task.exec(ExecSpec("e1", process), Stream(theirs.detach()))
    assert (await task.wait_exec("e1")).status == 0
    with ours:
        seen = b"".join(iter(lambda: ours.recv(1000), b"")).decode().splitlines()
    while (world.root / task.id / "log").read_text().count("\n") < 2:  # until the first process has come so far
        assert task.pid in await task.pids()
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()
    for first, second in (seen, world.log(task).splitlines()):
        assert first == second and first.startswith("1:3 ")
        assert int(first.split()[1].split(":")[0]) != os.stat("/dev/null").st_dev


async def test_its_tree_is_opened(world: RuntimeWorld) -> None:
    task = await world.started("sleep", "1000")
    root, mounts, user = task.open_tree()
    assert os.readlink(f"/proc/self/fd/{mounts}") == os.readlink(f"/proc/{task.pid}/ns/mnt")
    assert "passwd" in os.listdir(f"/proc/self/fd/{root}/etc")
    for fd in (root, mounts, user):
        os.close(fd)
    assert os.readlink(task.namespace("network")) != os.readlink("/proc/self/ns/net")
    assert await task.interface_counters() == {}  # a new network namespace has loopback only
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()


async def test_its_tree_by_way_of_its_supervisor(world: RuntimeWorld) -> None:
    task = await world.started("sleep", "1000")
    trees = task.trees()
    found = await trees.ask(Look("/etc/passwd"))
    assert (found["name"], found["size"]) == ("passwd", (world.tree / "etc/passwd").stat().st_size)
    with pytest.raises(NotFound, match="/etc/nothing"):
        await trees.ask(Look("/etc/nothing"))
    await trees.pour(Put("/etc"), packed("motd", b"good day"))
    async with trees.stream(Fetch("/etc/motd")) as (found, data):
        assert found["name"] == "motd" and b"good day" in await whole(data)
    async with trees.stream(Changes()) as (_, data):
        changes = json.loads(await whole(data))
    assert {"Path": "/etc/motd", "Kind": 1} in changes
    async with trees.stream(Export()) as (_, data):
        files = await whole(data)
    with tarfile.open(fileobj=io.BytesIO(files)) as tar:
        assert {"etc/motd", "bin/busybox"} <= {*tar.getnames()}
    await ended(task)
    with pytest.raises((Conflict, NotFound)):
        await trees.ask(Look("/"))


async def test_descriptors_that_are_missing(world: RuntimeWorld) -> None:
    task = await world.started("sleep", "1000")
    for verb, fds in (("tree fetch", [0]), ("tree look", [0, 0]), ("tree export", []), ("attach interface", [])):
        with pytest.raises(Failed, match="unpack"):
            await task._ask(verb, fds, path="/", name="eth0")
    await ended(task)


async def test_work_on_a_tree_that_nothing_waits_for_ends(world: RuntimeWorld) -> None:
    task = await world.started("sleep", "1000")
    supervisor = world.supervisor(task)
    async with task.trees().stream(Fetch("/bin")) as (found, _):
        assert found["name"] == "bin"
        (worker,) = [pid for pid in children(supervisor) if pid != task.pid]
    while worker in children(supervisor):  # ended and waited for
        await asyncio.sleep(0.01)
    await ended(task)


async def test_work_on_a_tree_ends_with_the_container(world: RuntimeWorld) -> None:
    task = await world.started("sleep", "1000")
    supervisor = world.supervisor(task)
    pouring = asyncio.ensure_future(task.trees().pour(Put("/etc"), slow()))
    while len(children(supervisor)) < 2:
        await asyncio.sleep(0.01)
    await ended(task)
    with pytest.raises(Failed):
        await pouring


async def test_a_copy_waits_for_no_silent_sender_when_its_worker_has_ended(world: RuntimeWorld) -> None:
    task = await world.started("sleep", "1000")
    with pytest.raises(NotFound):
        await asyncio.wait_for(task.trees().pour(Put("/nosuch"), silent()), 30)
    await ended(task)


async def test_what_was_not_started_is_not_opened(world: RuntimeWorld) -> None:
    task = await world.supervisors.create(world.bundle("sleep", "1000"))
    for verb in (task.trees().ask(Look("/")), task.attach_interface("eth0", 0), task.detach_interface("eth0")):
        with pytest.raises(Conflict, match="not been started"):
            await verb
    await task.delete()


@pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="needs /dev/net/tun")
async def test_an_interface(world: RuntimeWorld) -> None:
    task = await world.started("sleep", "1000")
    with tap(f"ct{os.getpid()}") as device:
        await task.attach_interface("eth7", device)
        assert [*await task.interface_counters()] == ["eth7"]
        with pytest.raises(Conflict, match="eth7"):
            await task.attach_interface("eth7", device)
        await task.detach_interface("eth7")
        assert await task.interface_counters() == {}
        with pytest.raises(NotFound, match="eth7"):
            await task.detach_interface("eth7")
    with pytest.raises(Invalid, match="tap"):
        await task.attach_interface("eth7", 0)
    await ended(task)


async def packed(name: str, content: bytes) -> AsyncIterator[bytes]:
    """A tar of one file."""
    file, info = io.BytesIO(), tarfile.TarInfo(name)
    info.size = len(content)
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(info, io.BytesIO(content))
    yield file.getvalue()


async def slow() -> AsyncIterator[bytes]:
    """A tar of nothing, which takes ten seconds."""
    for _ in range(1024):
        yield b"\0"
        await asyncio.sleep(0.01)


async def silent() -> AsyncIterator[bytes]:
    yield b"\0"
    await asyncio.Event().wait()


async def whole(data: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in data])


async def ended(task: Task) -> None:
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()


async def test_the_detach_keys(world: RuntimeWorld) -> None:
    ours, theirs = socket.socketpair()
    bundle = world.bundle("sh", "-c", "echo ready; cat", terminal=True, open_stdin=True)
    task = await world.supervisors.create(bundle, [Stream(theirs.detach())])
    await task.start()
    with ours:
        text = b""
        while b"ready" not in text:
            text += ours.recv(100)
        ours.sendall(b"\x10\x11")
        while ours.recv(100):
            pass
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()
    assert "detach" in [kind for _, kind, _ in world.events]


class Waiter:
    """A client on whose connection a supervisor has a copy."""

    def __init__(self) -> None:
        self.ours, self._theirs = socket.socketpair()
        self.ours.settimeout(60)

    def held_by(self, task: SupervisedTask, key: str) -> None:
        task.hold(key, self._theirs.fileno())
        self._theirs.close()

    def close(self) -> None:
        self.ours.close()
        self._theirs.close()

    def answer(self) -> bytes:
        """What has come when the last copy is closed."""
        with self.ours:
            return b"".join(iter(lambda: self.ours.recv(1000), b""))


async def test_who_waits_is_answered_when_the_daemon_is_gone(world: RuntimeWorld) -> None:
    task = await world.started("sh", "-c", "read line; exit 5", open_stdin=True, stdin_once=True)
    orphan, released, gone, late = Waiter(), Waiter(), Waiter(), Waiter()
    orphan.held_by(task, "a")
    gone.held_by(task, "b")
    task.release("b", answer=False)
    assert gone.answer() == b""
    task.close()
    later = await Supervisors(world.launcher, world.root / "run").adopt(task._bundle)
    assert later is not None
    released.held_by(later, "c")
    later.release("c", answer=True)
    later.release("d", answer=True)  # of one that was never kept
    late.held_by(later, "e")
    await later.attach(Stream(_ended_input(), stdin=True))
    assert (await later.wait()).status == 5
    chunk = b'11\r\n{"StatusCode":5}\n\r\n0\r\n\r\n'
    assert await asyncio.to_thread(orphan.answer) == chunk == await asyncio.to_thread(released.answer)
    assert await asyncio.to_thread(late.answer) == b"", "its daemon is there, and answers it"
    await later.delete()


def _ended_input() -> int:
    ours, theirs = socket.socketpair()
    ours.close()
    return theirs.detach()


async def test_no_more_are_kept_than_a_supervisor_can_have(world: RuntimeWorld) -> None:
    task = await world.started("sleep", "1000")
    waiters, more, again = [Waiter() for _ in range(MOST)], Waiter(), Waiter()
    for number, waiter in enumerate(waiters):
        waiter.held_by(task, str(number))
    more.held_by(task, "more")
    again.held_by(task, "0")
    assert await asyncio.to_thread(more.answer) == b"" == await asyncio.to_thread(again.answer)
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()
    for waiter in waiters:
        waiter.close()


async def test_a_supervisor_shares_most_of_its_memory(world: RuntimeWorld) -> None:
    task = await world.started("sleep", "1000")
    supervisor = world.supervisor(task)
    rollup = Path(f"/proc/{supervisor}/smaps_rollup").read_text()
    dirty = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_Dirty:"))
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()
    assert dirty < (2000 if world.runtime == "corten" else 4000)  # KiB; 1,360 and 2,500 seen


async def test_supervisors_kept_ready_may_be_killed(world: RuntimeWorld) -> None:
    first = await world.started("sleep", "1000")
    launcher = world.launcher.pid
    state = json.loads((world.root / "run" / first.id / "state.json").read_text())
    while len(waiting := {*children(launcher)} - {state["supervisor"]}) < 2:
        await asyncio.sleep(0.01)
    for pid in waiting:
        os.kill(pid, signal.SIGKILL)
    while children(launcher) != [state["supervisor"]]:
        await asyncio.sleep(0.01)
    second = await world.started("sh", "-c", "exit 4")
    assert (await second.wait()).status == 4
    await first.signal(signal.SIGKILL)
    await first.wait()
    await first.delete()
    await second.delete()


async def test_supervisors_kept_ready_end_with_the_daemon(world: RuntimeWorld) -> None:
    task = await world.started("sh", "-c", "exit 0")
    await task.wait()
    await task.delete()
    while len(children(world.launcher.pid)) < 2:  # they are forked behind the start
        await asyncio.sleep(0.01)
    world.supervisors.close()
    while children(world.launcher.pid):
        await asyncio.sleep(0.01)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_created_and_never_started_leaves_nothing(world: RuntimeWorld) -> None:
    task = await world.supervisors.create(world.bundle("sleep", "1000"))
    assert f"{world.root}/run/{task.id}" in world.left() and runs(task.pid)
    await task.delete()
    assert world.left() == [] and not runs(task.pid)
