"""A supervisor whose instance is a few descriptors: what happens at once at its end."""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corten.error_codec import encode
from corten.errors import Conflict
from corten.instance.contract import ChildStdio, Created, Ending, Execution, Process, Size
from corten.runtime.messages import ChildFailed
from corten.supervisor import loop, supervise, wire
from corten.supervisor.requests import decode_create
from corten.supervisor.supervise import Supervisor


class Instant:
    """Ends in the moment in which it was created, for lack of memory. What says so is closed with it."""

    events = -1

    def __init__(self) -> None:
        self._fds: list[int] = []

    def create(self, stdio: ChildStdio, size: Size) -> Created:
        ended, oom = self._fds = [os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(2)]
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("")
        listener.listen()
        listener.setblocking(False)
        return Created(1, ended, -1, listener, oom, {}, ())

    def out_of_memory(self) -> bool:
        os.eventfd_read(self._fds[1])
        return True

    def ending(self) -> Ending:
        return Ending(137, True)

    def delete(self) -> None:
        for fd in self._fds:
            os.close(fd)


def test_it_ends_in_order_when_memory_runs_out_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervise, "_instance", lambda *_: Instant())
    events = _events(tmp_path)
    assert events[0] == "created" and events[-1] == "exit" and set(events) == {"created", "oom", "exit"}
    assert "Traceback" not in capfd.readouterr().err


class Stuck(Instant):
    """Cannot be taken away, for a reason that is not one of those expected."""

    def delete(self) -> None:
        super().delete()
        raise RecursionError("a fault of ours")


def test_it_ends_though_its_instance_cannot_be_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "_instance", lambda *_: Stuck())
    assert _events(tmp_path)[-1] == "exit"
    assert not (tmp_path / "run").exists()


class Hungry(Instant):
    """Lacks memory again and again, `times`, and then ends."""

    def __init__(self, times: int, ends: bool) -> None:
        super().__init__()
        self._times, self._ends = times, ends

    def create(self, stdio: ChildStdio, size: Size) -> Created:
        made = super().create(stdio, size)
        os.eventfd_read(made.ended)
        return made

    def out_of_memory(self) -> bool:
        os.eventfd_read(self._fds[1])
        self._times -= 1
        if self._times:
            os.eventfd_write(self._fds[1], 1)
        elif self._ends:
            self.end()
        return True

    def end(self) -> None:
        os.eventfd_write(self._fds[0], 1)


def test_that_memory_is_lacking_is_said_once_in_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest may say it without an end. What has not been said by then is said at the end."""
    monkeypatch.setattr(supervise, "_OOM_REST", 3600.0)
    monkeypatch.setattr(supervise, "_instance", lambda *_: Hungry(1000, True))
    assert _events(tmp_path) == ["created", "oom", "oom", "exit"]


def test_what_comes_meanwhile_is_said_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest ends when all of it has come, however long that takes."""
    instance = Hungry(3, False)
    said: list[str] = []
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + (0 if instance._times else 3600))

    def sends(supervisor: Supervisor, event: dict[str, object]) -> None:
        said.append(str(event["event"]))
        if said.count("oom") == 2:
            instance.end()
        send(supervisor, event)

    send = Supervisor._send_event
    monkeypatch.setattr(Supervisor, "_send_event", sends)
    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(supervise, "_OOM_REST", 1800.0)
    monkeypatch.setattr(supervise, "_instance", lambda *_: instance)
    assert _events(tmp_path) == ["created", "oom", "oom", "exit"]


class Leaving(Hungry):
    """Its first process has left its namespaces, and its end shows when it is sent a signal."""

    def __init__(self) -> None:
        super().__init__(0, False)

    def enter(self, execution: Execution, stdio: ChildStdio) -> Process:
        raise ChildFailed("join namespaces", "no such process", errno=errno.ESRCH)

    def signal(self, number: int, all_processes: bool) -> None:
        self.end()


def test_an_exec_in_what_is_just_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "_instance", lambda *_: Leaving())
    exec_ = {"id": "e1", "process": {}, "terminal": False, "stdin": False, "console_size": [0, 0]}
    requests = ({"id": 1, "do": "exec", "exec": exec_}, {"id": 2, "do": "signal", "signal": 9, "all": False})
    answers = {message["id"]: message for message in _said(tmp_path, *requests) if "id" in message}
    assert answers[1]["error"] == encode(Conflict("container c1 is not running"))


def _events(directory: Path) -> list[str]:
    return [message["event"] for message in _said(directory)]


def _said(directory: Path, *asked: dict[str, object]) -> list[dict[str, Any]]:
    request = decode_create({"id": "c1", "run": str(directory / "run"), "bundle": str(directory)})
    ours, theirs = socket.socketpair()
    with ours:
        for each in asked:
            wire.send(ours, each)
        Supervisor(request, [theirs.detach()]).run()
        return [message for message, _ in wire.frames(ours)]
