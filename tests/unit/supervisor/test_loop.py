"""The supervisor's event loop: connections that come, and those that cannot be taken."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corten.supervisor import loop as module
from corten.supervisor.loop import Loop


class Listener(socket.socket):
    """It can take a connection when there is a descriptor for one."""

    descriptors = True

    def accept(self) -> tuple[socket.socket, object]:
        if not self.descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with Listener(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        listener.setblocking(False)
        yield listener


class Clock:
    """The loop's: its rest ends when a test says so."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def loop(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    monkeypatch.setattr(module, "_PAUSE", 3600.0)
    loop = Loop()
    yield loop
    loop.close()


def _connect(listener: Listener) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(listener.getsockname())
    return client


@contextmanager
def _refused(loop: Loop, listener: Listener, came: list[socket.socket]) -> Iterator[None]:
    """A client that has come while there was no descriptor for it; there is one now."""
    loop.accept(listener, came.append)
    listener.descriptors = False
    with _connect(listener):
        assert loop.step(1)
        listener.descriptors = True
        yield


def test_each_connection_is_handed_over(loop: Loop, listener: Listener) -> None:
    came: list[socket.socket] = []
    loop.accept(listener, came.append)
    with _connect(listener), _connect(listener):
        while len(came) < 2:
            assert loop.step(1)
    for one in came:
        one.close()


def test_without_descriptors_it_rests_and_then_goes_on(
    loop: Loop, clock: Clock, listener: Listener, capfd: pytest.CaptureFixture[str]
) -> None:
    came: list[socket.socket] = []
    with _refused(loop, listener, came):
        assert not loop.step(0)  # still there, and not looked at
        assert not came and "Too many open files" in capfd.readouterr().err
        clock.ahead = 3600.0
        while not came:
            assert loop.step(1)
    came[0].close()


def test_what_was_forgotten_meanwhile_is_left_alone(
    loop: Loop, clock: Clock, listener: Listener, capfd: pytest.CaptureFixture[str]
) -> None:
    came: list[socket.socket] = []
    with _refused(loop, listener, came):
        capfd.readouterr()
        loop.forget(listener.fileno())
        clock.ahead = 3600.0
        assert loop.step(1)  # the end of its rest
        assert not loop.step(0)
    assert not came
