"""Helpers of builds, and of pods, are forked by a process that has their code loaded, and that ends with the daemon's
side of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.tasks.cni import LauncherPlugins
from corten.tasks.launcher import Launcher
from corten.tasks.steps import LauncherSteps

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def until(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def ask(launcher: Launcher, what: str = "builds") -> None:
    """A request that a helper answers: whether the user 0 is in no tree at all; what a plugin says."""
    if what == "builds":
        assert await LauncherSteps(launcher.for_builds).ask({"do": "step user", "base": None, "user": "0"}, []) == {}
    else:
        assert (await LauncherPlugins(launcher.for_pods).run("/bin/cat", {}, "{}", -1, 60.0)).output == "{}"


@pytest.mark.parametrize("what", ["builds", "pods"])
async def test_requests_share_one_process_that_the_launcher_forks_with_the_first(launcher: Launcher, what: str) -> None:
    assert children(launcher.pid) == []
    await ask(launcher, what)
    first = children(launcher.pid)
    assert [Path(f"/proc/{pid}/comm").read_text() for pid in first] == [f"corten:{what}\n"]
    await ask(launcher, what)
    assert children(launcher.pid) == first


@pytest.mark.parametrize("what", ["builds", "pods"])
async def test_another_one_is_forked_when_it_was_killed(launcher: Launcher, what: str) -> None:
    await ask(launcher, what)
    (first,) = children(launcher.pid)
    os.kill(first, signal.SIGKILL)
    until(lambda: not children(launcher.pid), "it was killed")
    await ask(launcher, what)
    (second,) = children(launcher.pid)
    assert second != first


async def test_it_has_the_code_loaded(launcher: Launcher) -> None:
    """The library of hashes is mapped by what is loaded, and by no import of the launcher's."""
    await ask(launcher)
    (pid,) = children(launcher.pid)
    assert "_hashlib" in Path(f"/proc/{pid}/maps").read_text()
    assert "_hashlib" not in Path(f"/proc/{launcher.pid}/maps").read_text()


@pytest.mark.parametrize("what", ["builds", "pods"])
async def test_it_ends_with_the_launcher(tmp_path: Path, what: str) -> None:
    launcher = Launcher(tmp_path / "launcher.log")
    launcher.start()
    await ask(launcher, what)
    (pid,) = children(launcher.pid)
    launcher.close()
    until(lambda: has_ended(pid), "it ended")


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
