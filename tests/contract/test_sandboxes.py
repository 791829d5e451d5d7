"""Sandboxes: namespaces that outlive any one process in them, with a holder and without."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from corten.errors import Conflict, NotFound
from corten.sandbox.sandboxes import Sandboxes
from corten.supervisor.sockets import HOLDER
from corten.tasks.contract import IdMap, Namespace, Shared, Task
from corten.tasks.holders import LauncherHolders
from corten.tasks.launcher import Launcher
from corten.tasks.namespaces import LauncherNamespaces

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces are made")
MAP = IdMap("0 100000 1000\n", "0 100000 1000\n")


class World:
    def __init__(self, root: Path) -> None:
        self.launcher = Launcher(root / "log")
        self.launcher.start()
        self.namespaces = LauncherNamespaces(self.launcher)
        self.run = root / "sandboxes"
        self.sandboxes = self.again()

    def again(self) -> Sandboxes:
        """As a later daemon has them."""
        self.holders = LauncherHolders(self.launcher.for_pods, self.run)
        return Sandboxes(self.namespaces, self.holders)

    def holder(self, id: str) -> int:
        """The process that listens on its socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            directory = os.open(self.run / id, os.O_PATH)
            connection.connect(f"/proc/self/fd/{directory}/{HOLDER}")
            os.close(directory)
            pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(pid)

    def children(self) -> set[str]:
        """Names of the processes that the launcher has forked and that run."""
        listed = Path(f"/proc/{self.launcher.pid}/task/{self.launcher.pid}/children").read_text().split()
        return {Path(f"/proc/{pid}/comm").read_text().strip() for pid in listed}


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() != "corten:sandbox\n"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    for id in list(world.holders.ids):
        await world.sandboxes.release(id)
    await world.namespaces.close()
    world.launcher.close()


def inode(namespace: Namespace) -> int:
    with contextlib.closing(namespace):
        return os.fstat(namespace.fd).st_ino


def inside(namespace: Namespace) -> subprocess.Popen[bytes]:
    """A process in it."""
    with contextlib.closing(namespace):
        command = ["nsenter", f"--net=/proc/self/fd/{namespace.fd}", "sleep", "1000"]
        process = subprocess.Popen(command, pass_fds=[namespace.fd])
        mine = os.fstat(namespace.fd).st_ino
        until(lambda: os.stat(f"/proc/{process.pid}/ns/net").st_ino == mine)
    return process


def until(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Member:
    """As much of a task as a sandbox asks for."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def open_namespace(self, kind: str) -> int:
        if self._process.poll() is not None:
            raise NotFound("it has ended")
        return os.open(f"/proc/{self._process.pid}/ns/{ {'network': 'net'}[kind] }", os.O_RDONLY)


def member(process: subprocess.Popen[bytes]) -> Task:
    return cast(Task, Member(process))


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


async def test_its_members_keep_it(world: World) -> None:
    first = inside(await world.sandboxes.open("a"))
    second = inside(await world.sandboxes.open("a", [member(first)]))
    mine = os.stat(f"/proc/{second.pid}/ns/net").st_ino
    assert os.stat(f"/proc/{first.pid}/ns/net").st_ino == mine
    end(first)
    assert inode(await world.sandboxes.open("a", [member(first), member(second)])) == mine
    with open(f"/proc/{second.pid}/ns/net"):  # or its number is the next one's
        end(second)
        assert inode(await world.sandboxes.open("a", [member(first), member(second)])) != mine
    assert world.children() == {"corten:netns"}, "no process for a sandbox that is not held"


async def test_a_holder_keeps_it_without_members_and_without_the_daemon(world: World) -> None:
    made = inode(await world.sandboxes.hold("pod"))
    holder = world.holder("pod")
    assert inode(await world.sandboxes.open("pod")) == made
    with pytest.raises(Conflict, match="held already"):
        await world.sandboxes.hold("pod")
    later = world.again()
    assert world.holders.ids == {"pod"} and inode(await later.open("pod")) == made
    process = inside(await later.open("pod"))
    await later.release("pod")
    await later.release("pod")
    until(lambda: ended(holder))
    assert not any(world.run.iterdir())
    assert inode(await later.open("pod", [member(process)])) == made, "its members go on"
    end(process)


async def test_a_network_that_is_there_already_is_kept(world: World) -> None:
    """It can be connected while its holder is made, and stays the caller's to close."""
    network = await world.sandboxes.new()
    mine = os.fstat(network.fd).st_ino
    with contextlib.closing(network):
        assert inode(await world.sandboxes.hold("pod", network=network)) == mine
    assert os.stat(f"/proc/{world.holder('pod')}/ns/net").st_ino == mine
    again = await world.again().open("pod")
    with socket.socket(fileno=os.dup(again.route)) as route:
        assert (route.family, inode(again)) == (socket.AF_NETLINK, mine)


async def test_it_outlives_the_launcher(world: World) -> None:
    made = inode(await world.sandboxes.hold("pod"))
    os.kill(world.launcher.pid, signal.SIGKILL)
    assert inode(await world.sandboxes.open("pod")) == made


@pytest.mark.parametrize("held", [False, True])
async def test_mapped_ids(world: World, held: bool) -> None:
    """The user namespace that owns it comes with it, however it is opened."""
    first = await (world.sandboxes.hold("pod", MAP) if held else world.sandboxes.open("a", (), MAP))
    assert first.user is not None
    owner = os.fstat(first.user_fd).st_ino
    process = inside(first)
    for again in (await world.sandboxes.open("pod" if held else "a", [member(process)]),):
        with contextlib.closing(again):
            assert again.user is not None and os.fstat(again.user_fd).st_ino == owner
    end(process)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_holder_that_is_killed_or_stopped(world: World, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corten.tasks.holders.PATIENCE", 0.2)
    (await world.sandboxes.hold("pod")).close()
    pid = world.holder("pod")
    os.kill(pid, number)
    if number == signal.SIGKILL:
        until(lambda: ended(pid))
        with pytest.raises(NotFound, match="has ended"):
            await world.sandboxes.open("pod")
    async with asyncio.timeout(60):
        await world.sandboxes.release("pod")
    until(lambda: ended(pid))
    assert not any(world.run.iterdir())


async def test_a_member_that_has_gone_to_another_namespace_leads_nowhere(world: World) -> None:
    """With CAP_SYS_ADMIN over both it can, to the host's for instance (setns(2))."""
    first = await world.sandboxes.open("a")
    mine = os.fstat(first.fd).st_ino
    process = inside(first)
    assert inode(await world.sandboxes.open("a", [member(process)], inode=mine)) == mine
    elsewhere = inside(await world.sandboxes.open("b"))
    assert inode(await world.sandboxes.open("a", [member(elsewhere)], inode=mine)) not in (
        mine,
        os.stat(f"/proc/{elsewhere.pid}/ns/net").st_ino,
    )
    with subprocess.Popen(["sleep", "1000"]) as host:
        ours = os.stat("/proc/self/ns/net").st_ino
        for known in (0, mine):
            assert inode(await world.sandboxes.open("a", [member(host)], inode=known)) not in (mine, ours)
        host.kill()
    end(process)
    end(elsewhere)


@pytest.mark.parametrize("id_map", [None, MAP])
async def test_what_a_pod_shares(world: World, id_map: IdMap | None) -> None:
    """A host name, queues and memory, processes: they stay while nothing else is in them."""
    asked = Shared(("ipc", "uts", "pid"), "pod-name", 1 << 20)
    (await world.sandboxes.hold("pod", id_map, asked)).close()
    with contextlib.closing(await world.again().open_shared("pod")) as found:
        assert found.pid == world.holder("pod") and list(found.descriptors) == ["ipc", "uts", "pid"]
        for kind, fd in found.descriptors.items():
            assert os.fstat(fd).st_ino != os.stat(f"/proc/self/ns/{kind}").st_ino
        fds = [*found.descriptors.values()]
        paths = [f"--{kind}=/proc/self/fd/{fd}" for kind, fd in found.descriptors.items()]
        command = ["nsenter", *paths, "sh", "-c", "uname -n; echo $$"]
        name, number = subprocess.run(command, pass_fds=fds, capture_output=True, text=True, check=True).stdout.split()
        assert name == "pod-name" and int(number) < 10
        memory = found.memory
        assert memory.stat().st_mode & 0o7777 == 0o1777 and os.statvfs(memory).f_blocks * 4096 == 1 << 20
        assert [each.name for each in Path(f"/proc/{found.pid}/root").iterdir()] == ["dev"]
        first = int(Path(f"/proc/{found.pid}/task/{found.pid}/children").read_text().split()[-1])
        assert len(Path(f"/proc/{found.pid}/mountinfo").read_text().splitlines()) == 2
    status = dict(line.split(":\t") for line in Path(f"/proc/{first}/status").read_text().splitlines())
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, "the pod's containers see it"
    assert len(list(Path(f"/proc/{first}/fd").iterdir())) == 1
    await world.sandboxes.release("pod")
    until(lambda: ended(first))
