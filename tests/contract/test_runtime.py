"""One suite for the seam `Runtime` and `Task`, run on our own runtime (both ways to make a process) and on runc."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from corten.errors import Conflict, NotFound, StartFailed
from corten.oci.template import template
from corten.runtime import cgroups
from corten.spec.mounts import Mount
from corten.tasks.contract import Bundle, ExecSpec, LogFile, Stream
from corten.tasks.launcher import Launcher
from corten.tasks.supervisors import Supervisors
from corten.tasks.task import SupervisedTask

BUSYBOX = "/bin/busybox"
PARENT = (
    f"/corten-contract-{os.getpid()}"  # of control groups: one that others remove as well may go between two mkdirs
)
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="needs Debian's busybox-static"),
]


class World:
    """A launcher, a runtime, and bundles to make tasks of."""

    def __init__(self, root: Path, runtime: str) -> None:
        self.root = root
        self.runtime = runtime.removesuffix(" by a helper")
        self.clone_namespaces = ("pid",) if runtime == "corten" else None
        self.launcher = Launcher(root / "launcher.log")
        self.launcher.start()
        (root / "run").mkdir()
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.supervisors = Supervisors(self.launcher, root / "run", lambda *event: self.events.append(event))
        self.tree = root / "tree"
        for directory in ("bin", "etc"):
            (self.tree / directory).mkdir(parents=True)
        shutil.copy(BUSYBOX, self.tree / "bin/busybox")
        for applet in ("sh", "cat", "sleep", "id", "echo", "head", "stty"):
            (self.tree / "bin" / applet).symlink_to("busybox")
        (self.tree / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/:/bin/sh\n")
        self.count = 0

    def bundle(self, *command: str, **options: Any) -> Bundle:
        self.count += 1
        name = f"{self.root.name}-{os.getpid()}-{self.count}"  # another worker of pytest has a directory of that name
        path = self.root / name
        for directory in (path, path / "upper", path / "work"):
            directory.mkdir()
        spec = template()
        spec["process"] |= {"args": list(command), "terminal": options.get("terminal", False), "noNewPrivileges": False}
        spec["root"] = {"path": "rootfs"}
        spec["linux"]["cgroupsPath"] = f"{PARENT}/{name}"
        (path / "config.json").write_text(json.dumps(spec))
        layers = (f"lowerdir={self.tree}", f"upperdir={path / 'upper'}", f"workdir={path / 'work'}")
        rootfs = (Mount("overlay", "overlay", "/", layers),)
        place: dict[str, Any] = {"cgroup": spec["linux"]["cgroupsPath"], "clone_namespaces": self.clone_namespaces}
        return Bundle(name, path, rootfs, LogFile(path / "log"), runtime=self.runtime, **place, **options)

    async def started(self, *command: str, **options: Any) -> SupervisedTask:
        task = await self.supervisors.create(self.bundle(*command, **options))
        await task.start()
        return task

    def log(self, task: SupervisedTask) -> str:
        lines = (self.root / task.id / "log").read_text().splitlines()
        return "".join(json.loads(line)["log"] for line in lines)


@pytest_asyncio.fixture(params=["corten", "corten by a helper", "/usr/sbin/runc"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param.startswith("/") and not os.path.exists(request.param):
        pytest.skip(f"needs {request.param} (Debian's runc)")
    world = World(tmp_path, request.param)
    yield world
    world.supervisors.close()
    world.launcher.close()
    assert list((tmp_path / "run").iterdir()) == []
    assert (tmp_path / "launcher.log").read_text() == ""
    for name in os.listdir(tmp_path):
        for hierarchy in cgroups.detect().hierarchies:
            assert not os.path.exists(f"{hierarchy.mountpoint}{PARENT}/{name}")
    for hierarchy in cgroups.detect().hierarchies:
        with suppress(FileNotFoundError):
            os.rmdir(f"{hierarchy.mountpoint}{PARENT}")


async def test_output_is_logged_and_the_status_told(world: World) -> None:
    task = await world.started("sh", "-c", "echo out; echo err >&2; exit 3")
    ending = await task.wait()
    await task.delete()
    assert ending.status == 3 and not ending.oom_killed
    assert sorted(world.log(task).split()) == ["err", "out"]
    assert await task.wait() == ending


@pytest.mark.parametrize(("command", "code"), [("nosuch", 127), ("/etc/passwd", 126), ("/etc", 126)])
async def test_what_cannot_be_executed_has_its_code(world: World, command: str, code: int) -> None:
    with pytest.raises(StartFailed) as failed:
        task = await world.supervisors.create(world.bundle(command))
        await task.start()
    assert failed.value.exit_code == code


async def test_a_signal_ends_it(world: World) -> None:
    task = await world.started("sleep", "1000")
    await task.signal(signal.SIGKILL)
    assert (await task.wait()).status == 137
    await task.delete()
    with pytest.raises(Conflict):
        await task.signal(signal.SIGTERM)


async def test_attached_before_the_start_nothing_is_missed(world: World) -> None:
    ours, theirs = socket.socketpair()
    bundle = world.bundle("cat", open_stdin=True, stdin_once=True)
    task = await world.supervisors.create(bundle, [Stream(theirs.detach(), mux=True, early=b"early ")])
    await task.start()
    with ours:
        ours.sendall(b"late")
        ours.shutdown(socket.SHUT_WR)
        assert (await task.wait()).status == 0
        await task.delete()
        received = b""
        while data := ours.recv(4096):
            received += data
    payload = b""
    while received:
        size = int.from_bytes(received[4:8], "big")
        assert received[0] == 1
        payload, received = payload + received[8 : 8 + size], received[8 + size :]
    assert payload == b"early late"


async def test_exec_as_a_user_with_its_own_status(world: World) -> None:
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
    with pytest.raises(NotFound):  # told once, its end is kept nowhere: there may be one every second for years
        await again.wait_exec("e1")
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()
    await again.delete()
    assert ("exec_exit", {"exec": "e1", "status": 7}) in [event[1:] for event in world.events]


async def test_no_input_is_the_container_s_own_null_device(world: World) -> None:
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


async def test_an_exec_is_killed_alone(world: World) -> None:
    task = await world.started("sleep", "1000")
    pid = await task.exec(ExecSpec("e1", {"args": ["sleep", "1000"], "env": ["PATH=/bin"], "cwd": "/"}), None)
    assert task.exec_runs("e1") and pid in await task.pids()
    await task.signal_exec("e1", signal.SIGKILL)
    assert (await task.wait_exec("e1")).status == 137
    with pytest.raises(NotFound):
        await task.signal_exec("e1", signal.SIGKILL)
    assert list(await task.pids()) == [task.pid]
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()


async def test_what_is_seen_from_outside(world: World) -> None:
    task = await world.started("sleep", "1000")
    assert os.readlink(task.namespace("network")) == os.readlink(f"/proc/{task.pid}/ns/net")
    assert (task.root() / "etc/passwd").read_text().startswith("root")
    root, mounts, user = task.open_tree()
    assert os.readlink(f"/proc/self/fd/{mounts}") == os.readlink(f"/proc/{task.pid}/ns/mnt")
    assert "passwd" in os.listdir(f"/proc/self/fd/{root}/etc")
    for fd in (root, mounts, user):
        os.close(fd)
    shown = await task.processes(["-e", "-o", "pid,args"])
    assert shown == (["PID", "COMMAND"], [[str(task.pid), "sleep 1000"]])
    assert await task.interface_counters() == {}  # a new network namespace has loopback only
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()
    assert task.open_tree() == ()


async def test_paused_limited_counted(world: World) -> None:
    task = await world.started("sleep", "1000")
    assert list(await task.pids()) == [task.pid]
    await task.pause()
    assert task.paused
    await task.resume()
    await task.update({"pids": {"limit": 33}})
    assert (await task.stats())["pids"]["limit"] == 33
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()


async def test_a_terminal_has_its_size(world: World) -> None:
    ours, theirs = socket.socketpair()
    bundle = world.bundle("sh", "-c", "stty size; cat", terminal=True, open_stdin=True, console_size=(24, 80))
    task = await world.supervisors.create(bundle, [Stream(theirs.detach())])
    await task.resize(31, 97)
    await task.start()
    with ours:
        text = b""
        while b"31 97" not in text:
            text += ours.recv(100)
        ours.sendall(b"\x10\x11")  # the detach keys
        while ours.recv(100):
            pass
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()
    assert "detach" in [kind for _, kind, _ in world.events]


async def test_a_later_daemon_finds_it_again(world: World) -> None:
    bundle = world.bundle("sleep", "1000")
    task = await world.supervisors.create(bundle)
    await task.start()
    later = Supervisors(world.launcher, world.root / "run")
    again = await later.adopt(bundle)
    assert again is not None and again.pid == task.pid and again.started
    await again.signal(signal.SIGKILL)
    assert (await again.wait()).status == (await task.wait()).status == 137
    await task.delete()
    await again.delete()
    ended = await later.adopt(bundle)
    assert ended is not None and (await ended.wait()).status == 137


async def test_without_a_place_for_its_log_nothing_is_left(world: World) -> None:
    bundle = world.bundle("sleep", "1000")
    (bundle.path.parent / bundle.id / "log").mkdir()
    with pytest.raises(StartFailed, match="Is a directory"):
        await world.supervisors.create(bundle)


async def test_a_supervisor_shares_most_of_its_memory(world: World) -> None:
    task = await world.started("sleep", "1000")
    supervisor = json.loads((world.root / "run" / task.id / "state.json").read_text())["supervisor"]
    rollup = Path(f"/proc/{supervisor}/smaps_rollup").read_text()
    dirty = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_Dirty:"))
    await task.signal(signal.SIGKILL)
    await task.wait()
    await task.delete()
    assert dirty < (2000 if world.runtime == "corten" else 4000)  # KiB; 1,360 and 2,500 seen


async def test_supervisors_kept_ready_may_be_killed(world: World) -> None:
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


async def test_supervisors_kept_ready_end_with_the_daemon(world: World) -> None:
    task = await world.started("sh", "-c", "exit 0")
    await task.wait()
    await task.delete()
    assert children(world.launcher.pid)
    world.supervisors.close()
    while children(world.launcher.pid):
        await asyncio.sleep(0.01)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_created_and_never_started_leaves_nothing(world: World) -> None:
    task = await world.supervisors.create(world.bundle("sleep", "1000"))
    await task.delete()
