"""The conversation with QEMU's monitor, with a socket in QEMU's place."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from corten.supervisor.loop import Loop
from corten.supervisor.machine_talk import Talk
from corten.vm.qmp import MAX_LINE

Json = dict[str, Any]


class Monitor:
    """QEMU's side, and what the talk reports."""

    def __init__(self, greets: bool = True) -> None:
        self.loop = Loop()
        ours, self.qemu = socket.socketpair()
        self.qemu.settimeout(5)
        self.events: list[tuple[str, Json, float]] = []
        self.ends: list[str] = []
        self.talk = Talk(self.loop, ours, lambda *event: self.events.append(event), self.ends.append, greets)
        self._buffer = b""

    def say(self, *lines: Json | bytes) -> None:
        for line in lines:
            self.qemu.sendall(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\r\n")
        while self.loop.step(0):
            pass

    def asked(self) -> Json:
        while b"\n" not in self._buffer:
            self._buffer += self.qemu.recv(4096)
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: Json = json.loads(line)
        return found

    def greet(self) -> None:
        self.say({"QMP": {"version": {}}})
        self.say({"return": {}, "id": self.asked()["id"]})

    def close(self) -> None:
        self.talk.close()
        self.qemu.close()
        self.loop.close()


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    found = Monitor()
    yield found
    found.close()


def test_questions_wait_for_the_greeting_and_answers_find_theirs(monitor: Monitor) -> None:
    answers: list[Json] = []
    monitor.talk.ask("one", {}, (), answers.append)
    monitor.talk.ask("two", {"a": 1}, (), answers.append)
    monitor.greet()
    one, two = monitor.asked(), monitor.asked()
    assert (one["execute"], two["execute"], two["arguments"]) == ("one", "two", {"a": 1})
    monitor.say({"return": 2, "id": two["id"]}, {"error": {"class": "X", "desc": "no\nway"}, "id": one["id"]})
    assert answers == [{"ok": 2}, {"error": "QEMU refuses one: no?way"}]


def test_descriptors_go_beside_their_question(monitor: Monitor) -> None:
    monitor.greet()
    read, write = os.pipe()
    monitor.talk.ask("getfd", {"fdname": "x"}, [write], lambda answer: None)
    _, fds, _, _ = socket.recv_fds(monitor.qemu, 4096, 4)
    os.close(write)
    os.write(fds[0], b"there")
    os.close(fds[0])
    assert os.read(read, 16) == b"there"
    os.close(read)


def test_events_and_what_nothing_asked_for(monitor: Monitor) -> None:
    monitor.greet()
    monitor.say({"event": "STOP", "data": {"a": 1}}, {"event": 7}, {"event": "X", "data": []}, {"return": 1, "id": 99})
    assert monitor.events == [("STOP", {"a": 1}, 0.0)] and monitor.talk.alive
    monitor.say({"event": "STOP", "timestamp": {"seconds": 7, "microseconds": 500_000}})
    monitor.say({"event": "STOP", "timestamp": {"seconds": -1, "microseconds": -1}}, {"event": "STOP", "timestamp": 7})
    assert [at for _, _, at in monitor.events[1:]] == [7.5, 0.0, 0.0]


@pytest.mark.parametrize("nonsense", [b"{]\n", b"[1]\n", b'"x"\n', b"[" * 100_000 + b"\n"], ids=len)
def test_nonsense_is_its_end(monitor: Monitor, nonsense: bytes) -> None:
    answers: list[Json] = []
    monitor.greet()
    monitor.talk.ask("one", {}, (), answers.append)
    monitor.say(nonsense)
    assert not monitor.talk.alive and len(monitor.ends) == 1
    assert answers[0].keys() == {"error"}


def test_a_line_without_an_end(monitor: Monitor) -> None:
    monitor.greet()
    for _ in range(MAX_LINE // 65536 + 1):
        monitor.say(b"x" * 65536)
    assert "too long" in monitor.ends[0]


def test_the_end_answers_all(monitor: Monitor) -> None:
    answers: list[Json] = []
    monitor.greet()
    monitor.talk.ask("one", {}, (), answers.append)
    monitor.qemu.shutdown(socket.SHUT_RDWR)
    while monitor.loop.step(0):
        pass
    monitor.talk.ask("two", {}, (), answers.append)
    assert [list(answer) for answer in answers] == [["error"], ["error"]]


def test_no_more_than_there_can_be(monitor: Monitor) -> None:
    answers: list[Json] = []
    for _ in range(300):
        monitor.talk.ask("one", {}, (), answers.append)
    assert len(answers) == 300 - 256


def test_one_that_is_killed_is_named(monitor: Monitor) -> None:
    """With a question in its socket that it has not read: the kernel says that it has reset the connection."""
    answers: list[Json] = []
    monitor.greet()
    monitor.talk.ask("one", {}, (), answers.append)
    monitor.qemu.close()
    while monitor.loop.step(0):
        pass
    assert answers == [{"error": "one: QEMU has closed its connection"}]
    assert monitor.ends == ["has closed its connection"]
