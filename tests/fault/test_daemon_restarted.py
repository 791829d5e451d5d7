"""Clients that wait for something while the daemon is restarted: they get it from the next one."""

from __future__ import annotations

import itertools
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from corten.supervisor.waits import MOST
from e2e_parts.clients import Client, available, finish, kill
from fault_parts.fragile import Fragile, until

LEAVES = "trap 'exit 7' TERM; echo begun; while :; do usleep 10000; done"


@pytest.fixture(params=["corten", "docker"])
def either(request: pytest.FixtureRequest, daemon: Fragile) -> Iterator[Client]:
    if request.param not in available():
        pytest.skip(f"no {request.param} client (Debian package docker.io)")
    client = Client(request.param, available()[request.param], daemon.address, daemon.root)
    yield client
    client.close()


@pytest.fixture
def corten(daemon: Fragile) -> Iterator[Client]:
    client = Client("corten", available()["corten"], daemon.address, daemon.root)
    yield client
    client.close()


def end(daemon: Fragile, how: str) -> None:
    """Of the daemon alone: by SIGTERM, as a restart of the service, or by SIGKILL."""
    if how == "kill":
        daemon.kill()
        return
    assert daemon._process is not None
    daemon._process.terminate()
    daemon._process.wait(20)


def leave(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def read_until(process: subprocess.Popen[bytes], text: bytes, seconds: float = 60.0) -> bytes:
    """Output up to and with `text`."""
    assert process.stdout is not None
    said, deadline = b"", time.monotonic() + seconds
    while text not in said:
        left = deadline - time.monotonic()
        assert left > 0 and select.select([process.stdout], [], [], left)[0], (text, said)
        piece = os.read(process.stdout.fileno(), 65536)
        assert piece, (text, said)
        said += piece
    return said


def leaver(daemon: Fragile, **options: Any) -> tuple[str, int]:
    """A container, and its program's process, which takes the signal of `leave` from now on."""
    id = daemon.run("sh", "-c", LEAVES, **options)
    until(lambda: daemon.output(id) == "begun\n", "its program has begun")
    return id, daemon.wait_running(id)


def restart_around(daemon: Fragile, how: str, when: str, act: Callable[[], None]) -> None:
    """`act` while there is no daemon, or once there is another."""
    end(daemon, how)
    if when == "meanwhile":
        act()
    daemon.start()
    if when == "afterwards":
        act()


@pytest.mark.parametrize("when", ["meanwhile", "afterwards"])
@pytest.mark.parametrize("rm", [[], ["--rm"]], ids=["kept", "removed"])
@pytest.mark.parametrize("how", ["term", "kill"])
def test_run_ends_with_the_programs_code(daemon: Fragile, either: Client, how: str, rm: list[str], when: str) -> None:
    """Of docker's client too: its connection for the exit code does not end with the daemon."""
    process = either.popen("run", *rm, "--name", "waited", "corten/busybox", "sh", "-c", LEAVES)
    read_until(process, b"begun\n")
    id = daemon.inspect("waited")["Id"]
    pid = daemon.wait_running(id)
    restart_around(daemon, how, when, lambda: leave(pid))
    done = finish(process)
    assert (done.code, done.err) == (7, "")
    if rm:
        until(lambda: daemon.ask("GET", f"/containers/{id}/json")[0] == 404, "the removal")


def test_exec_ends_with_the_programs_code(daemon: Fragile, either: Client) -> None:
    id = daemon.run("sleep", "1000")
    process = either.popen("exec", id, "sh", "-c", LEAVES)
    read_until(process, b"begun\n")
    (exec,) = daemon.inspect(id)["ExecIDs"]
    pid = daemon.get(f"/exec/{exec}/json")["Pid"]
    restart_around(daemon, "kill", "afterwards", lambda: leave(pid))
    done = finish(process)
    assert (done.code, done.err) == (7, "")


@pytest.mark.parametrize("how", ["term", "kill"])
def test_wait(daemon: Fragile, either: Client, how: str) -> None:
    id, pid = leaver(daemon)
    supervisor = daemon.supervisor(id)
    before = sockets(supervisor)
    process = either.popen("wait", id)
    until(lambda: sockets(supervisor) == before + 1, "its connection is kept")
    restart_around(daemon, how, "meanwhile", lambda: leave(pid))
    done = finish(process)
    assert (done.code, done.out, done.err) == (0, "7\n", "")


def test_wait_for_one_that_only_the_next_daemon_knows(daemon: Fragile, corten: Client) -> None:
    """Beyond the connections that a supervisor keeps, our client asks again."""
    id, pid = leaver(daemon)
    processes = [corten.popen("wait", id) for _ in range(MOST + 2)]
    until(lambda: all(sockets(process.pid) == 2 for process in processes), "the connections that wait")
    restart_around(daemon, "kill", "afterwards", lambda: leave(pid))
    assert [(done.code, done.out, done.err) for done in map(finish, processes)] == [(0, "7\n", "")] * (MOST + 2)


def test_a_client_that_no_longer_waits_is_let_go(daemon: Fragile, corten: Client) -> None:
    id, _ = leaver(daemon)
    supervisor = daemon.supervisor(id)
    before = sockets(supervisor)
    process = corten.popen("wait", id)
    until(lambda: sockets(supervisor) == before + 1, "its connection is kept")
    kill(process)
    until(lambda: sockets(supervisor) == before, "it is closed")


def sockets(pid: int) -> int:
    """How many a process has open. What it closes meanwhile is none of them."""
    found = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found += os.readlink(fd).startswith("socket:")
    return found


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("how", ["term", "kill"])
def test_logs_are_followed_without_a_gap(daemon: Fragile, corten: Client, how: str, terminal: bool) -> None:
    """Each line once, also those that were written while there was no daemon."""
    count = "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); usleep 5000; done; exec sleep 1000"
    id = daemon.run("sh", "-c", count, Tty=terminal)
    process = corten.popen("logs", "-f", "--tail", "5", id)
    said = read_until(process, b"line 20")
    end(daemon, how)
    log = daemon.data / "containers" / id / f"{id}-json.log"
    until(lambda: b"line 200" in log.read_bytes(), "lines are written meanwhile")
    daemon.start()
    said += read_until(process, b"line 399")
    assert daemon.ask("POST", f"/containers/{id}/kill")[0] == 204
    done = finish(process)
    assert (done.code, done.err) == (0, "")
    numbers = [int(line.split()[1]) for line in (said.decode() + done.out).splitlines()]
    assert numbers == list(range(numbers[0], 400))


@pytest.mark.parametrize("how", ["term", "kill"])
def test_events_go_on(daemon: Fragile, corten: Client, how: str) -> None:
    """With those of the next daemon's beginning: what ended meanwhile is one of them."""
    id, pid = leaver(daemon, name="watched")
    process = corten.popen("events", "--format", "{{.Action}} {{.Actor.Attributes.name}}", "--filter", "type=container")
    names = itertools.cycle(("one", "other"))
    until(lambda: renamed(daemon, id, next(names)) and said_something(process), "it listens")
    assert renamed(daemon, id, "last")
    read_until(process, b"rename last\n")
    restart_around(daemon, how, "meanwhile", lambda: leave(pid))
    assert b"rename" not in read_until(process, b"die last\n")


def renamed(daemon: Fragile, id: str, name: str) -> bool:
    return daemon.ask("POST", f"/containers/{id}/rename?name={name}")[0] == 204


def said_something(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], 0)[0])


def test_stats_go_on(daemon: Fragile, corten: Client) -> None:
    id = daemon.run("sleep", "1000")
    process = corten.popen("stats", "--format", "{{.Name}} {{.PIDs}}")
    name = daemon.inspect(id)["Name"].removeprefix("/")
    read_until(process, f"{name} 1".encode())
    restart_around(daemon, "term", "afterwards", lambda: None)
    other = daemon.run("sleep", "1000", name="other")
    assert other
    read_until(process, b"other 1")
    assert process.poll() is None
