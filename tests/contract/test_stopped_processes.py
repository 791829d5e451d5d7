"""Processes of ours that are stopped: whatever is asked of them has an end, and nothing else waits."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from corten.errors import Failed, Unavailable
from corten.instance.contract import Put
from corten.supervisor import wire
from corten.tasks import answers, namespaces, outgoing, task, trees
from corten.tasks import stopped as tasks_stopped
from corten.tasks.contract import Bundle, LogFile
from corten.tasks.launcher import Launcher
from corten.tasks.namespaces import LauncherNamespaces
from corten.tasks.stopped import Stopped, _helpers
from corten.tasks.supervisors import Supervisors
from corten.tasks.trees import launcher_trees
from corten.tasks.workers import LauncherWorkers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
SHORT = 0.5  # seconds


@pytest_asyncio.fixture
async def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Launcher]:
    found = Launcher(tmp_path / "launcher.log")
    found.start()
    await reached(found)
    for module in (outgoing, task):
        monkeypatch.setattr(module, "PATIENCE", SHORT)
    monkeypatch.setattr(answers, "SILENCE", SHORT)
    yield found
    found.close()
    assert (tmp_path / "launcher.log").read_text() == ""


async def reached(launcher: Launcher) -> None:
    """It forks, and what it forks answers."""
    answer, _ = await launcher.ask({"do": "make namespaces", "id_map": {"uids": "", "gids": ""}}, [], 20)
    assert "error" in answer, "there is no such map"


def children(launcher: Launcher, name: str) -> list[int]:
    listed = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    return [int(pid) for pid in listed if comm(int(pid)) == name]


def comm(pid: int) -> str:
    """ "" for one that has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_another_process_for_network_namespaces_takes_the_place_of_one_that_is_silent(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[socket.socket] = []

    async def impatient(connection: socket.socket, decoder: wire.Decoder, seconds: float) -> answers.Answer:
        """For the first process: another one has all the time that it needs."""
        asked.append(connection)
        return await answers.answer(connection, decoder, SHORT if connection is asked[0] else seconds)

    made = LauncherNamespaces(launcher)
    (await made.create()).close()
    assert made._filling is not None
    await made._filling
    (process,) = children(launcher, "corten:netns")
    os.kill(process, signal.SIGSTOP)
    monkeypatch.setattr(namespaces, "answer", impatient)
    try:
        for _ in range(4):  # some are kept ready
            (await asyncio.wait_for(made.create(), 10)).close()
        assert len(children(launcher, "corten:netns")) == 2
    finally:
        os.kill(process, signal.SIGKILL)
        await made.close()


async def test_a_stopped_launcher_blocks_nothing_and_loses_no_descriptor(launcher: Launcher) -> None:
    before = descriptors()
    os.kill(launcher.pid, signal.SIGSTOP)
    try:
        asked = [launcher.ask({"do": "nothing at all"}, [0], SHORT) for _ in range(600)]
        failed = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 20)
        assert {type(error) for error in failed} <= {Unavailable, Failed}
        while descriptors() != before:
            await asyncio.sleep(0)
    finally:
        os.kill(launcher.pid, signal.SIGCONT)
    await reached(launcher)  # and has forked nothing for those that do not wait: "nothing at all" would be in its log


async def test_a_stopped_launcher_is_ended_with_the_daemon(launcher: Launcher) -> None:
    os.kill(launcher.pid, signal.SIGSTOP)
    pid = launcher.pid
    await asyncio.to_thread(launcher.close)
    assert not Path(f"/proc/{pid}").exists()


async def test_supervisors_that_are_kept_ready_and_stopped_are_no_ones_end(launcher: Launcher, tmp_path: Path) -> None:
    """What is sent to one that does not read does not block, however large it is."""
    (tmp_path / "run").mkdir()
    supervisors = Supervisors(launcher, tmp_path / "run")
    supervisors._keep_ready()
    while len(spares := children(launcher, "corten:spare")) < 2:
        await asyncio.sleep(0.01)
    for pid in spares:
        os.kill(pid, signal.SIGSTOP)
    try:
        bundle = Bundle("c1", tmp_path, (), LogFile(None))
        task = supervisors._entrusted(bundle, {"do": "create", "id": "x" * (1 << 20)}, [])
        assert task._out is not None and not task._out.read()
        task.close()
    finally:
        for pid in spares:
            os.kill(pid, signal.SIGCONT)
        supervisors.close()


@pytest.mark.parametrize("builds", [False, True])
async def test_a_stopped_helper_is_not_waited_for(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builds: bool
) -> None:
    """One that may work for an hour without a word, and one that does work beside it."""
    workers = LauncherWorkers(launcher.for_builds if builds else launcher)
    stopped, trees = Stopped(), [tmp_path / "one", tmp_path / "other"]
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in trees]
    working = []
    for tree, (reader, _) in zip(trees, pipes, strict=True):
        tree.mkdir()
        working.append(asyncio.ensure_future(workers.unpack(tree, reader)))
    while len(helpers := [one.pid for one in _helpers(launcher.pid) if title(one.pid) == "corten: unpack"]) < 2:
        await asyncio.sleep(0.01)
    os.kill(helpers[0], signal.SIGSTOP)
    while state(helpers[0]) != "T":
        await asyncio.sleep(0.01)
    assert stopped.kill(launcher.pid) == []  # not at first sight
    monkeypatch.setattr(tasks_stopped, "PATIENCE", 0.0)
    assert stopped.kill(launcher.pid) == [f"helper process {helpers[0]}, which was stopped, is killed"]
    done, running = await asyncio.wait(working, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(Failed, match="ended without an answer"):
        done.pop().result()
    assert stopped.kill(launcher.pid) == []
    for fd in sum(pipes, ()):
        os.close(fd)
    await asyncio.gather(*running, return_exceptions=True)


def title(pid: int) -> str:
    """ "" for one that has ended: an earlier request's, which had its answer."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_a_worker_that_reads_nothing_ends_a_copy(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it cannot read: it was never forked."""
    monkeypatch.setattr(trees, "_PIECE", 1 << 16)
    before = descriptors()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 16)

    os.kill(launcher.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match="reads nothing"):
            await asyncio.wait_for(launcher_trees(launcher).pour(Put("/"), endless(), {}, [0]), 10)
    finally:
        os.kill(launcher.pid, signal.SIGCONT)
    assert descriptors() == before
