"""A real terminal (pty) in front of the command, a scripted daemon behind it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.cli import attached, progress
from corten.cli.errors import CommandError
from corten.cli.session import Session
from corten.spec.detach_keys import DEFAULT, parse
from unit.cli.scripted import UPGRADED, Daemon, Request, reply
from unit.cli.test_main import LAUNCH, SOURCE

ID = "c" * 64


class Terminal:
    """The command on a pty of 30 by 90; `until` waits for output, `end` for its exit code."""

    def __init__(self, url: str, *words: str, command: list[str] | None = None) -> None:
        command = command or ["-I", "-S", "-c", LAUNCH, str(SOURCE), *words]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
                environ = {**os.environ, "CORTEN_HOST": url}
                os.execve(sys.executable, [sys.executable, *command], environ)
            finally:
                os._exit(99)
        self.seen = b""

    def until(self, wanted: bytes, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while wanted not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{wanted!r} did not come; seen: {self.seen!r}"
            self.seen += os.read(self.fd, 65536)

    def type(self, data: bytes) -> None:
        os.write(self.fd, data)

    def resize(self, height: int, width: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.fd)[3] & termios.ICANON

    def end(self) -> int:
        while True:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                break
            if not data:
                break
            self.seen += data
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


class Box:
    """A container whose program echoes what it reads and ends at the word `quit`, with code 5."""

    def __init__(self, daemon: Daemon) -> None:
        self.received = b""
        self.resized: list[str] = []
        self.ended = threading.Event()
        self.go_on = threading.Event()
        daemon.on("POST /containers/create", reply(201, {"Id": ID}))
        daemon.on(f"POST /containers/{ID}/start", reply(204))
        daemon.on(f"POST /containers/{ID}/attach", self._attach)
        daemon.on(f"POST /containers/{ID}/wait", self._wait)
        daemon.on(f"POST /containers/{ID}/resize", self._resize)
        daemon.on(f"POST /containers/{ID}/kill", reply(204))

    def _attach(self, _request: Request, connection: socket.socket) -> None:
        connection.sendall(UPGRADED + b"prompt# ")
        while data := connection.recv(100):
            self.received += data
            connection.sendall(b"<" + data + b">")
            if b"quit" in self.received:
                break
        self.ended.set()
        connection.shutdown(socket.SHUT_WR)

    def _wait(self, _request: Request, connection: socket.socket) -> None:
        body = b'{"StatusCode":5}'
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        self.ended.wait(20)
        connection.sendall(body)

    def _resize(self, request: Request, connection: socket.socket) -> None:
        self.resized.append(request.query)
        connection.sendall(reply(200))


@pytest.fixture
def box(daemon: Daemon) -> Iterator[Box]:
    found = Box(daemon)
    yield found
    found.go_on.set()
    found.ended.set()


def test_keys_go_through_raw_and_the_mode_is_put_back(daemon: Daemon, box: Box) -> None:
    terminal = Terminal(daemon.url, "run", "-it", "busybox")
    kept = os.dup(terminal.fd)
    terminal.until(b"prompt# ")
    assert terminal.is_raw()
    terminal.type(b"\x03\x1a\r")
    terminal.until(b"<\x03\x1a\r>")
    terminal.type(b"quit")
    assert terminal.end() == 5
    assert box.received == b"\x03\x1a\rquit"
    os.close(kept)


def test_the_container_learns_the_size_at_start_and_later(daemon: Daemon, box: Box) -> None:
    terminal = Terminal(daemon.url, "run", "-it", "busybox")
    terminal.until(b"prompt# ")
    assert daemon.request("POST /containers/create").json()["HostConfig"]["ConsoleSize"] == [30, 90]
    terminal.resize(50, 120)
    terminal.type(b"x")
    terminal.until(b"<x>")
    terminal.type(b"quit")
    assert terminal.end() == 5
    assert box.resized == ["h=30&w=90", "h=50&w=120"]


@pytest.mark.parametrize(
    ("words", "typed", "passed"),
    [
        ([], b"a\x10\x10\x11", b"a\x10"),
        (["--detach-keys", "ctrl-a,b"], b"\x10\x11\x01b", b"\x10\x11"),
        (["--detach-keys", "q"], b"xq", b"x"),
    ],
)
def test_detach_keys_leave_the_container(
    daemon: Daemon, box: Box, words: list[str], typed: bytes, passed: bytes
) -> None:
    terminal = Terminal(daemon.url, "run", "-it", *words, "busybox")
    terminal.until(b"prompt# ")
    for byte in typed[:-1]:
        terminal.type(bytes([byte]))
    terminal.type(typed[-1:])
    assert terminal.end() == 0
    deadline = time.monotonic() + 60
    while box.received != passed and time.monotonic() < deadline:  # it reads in a thread of its own
        time.sleep(0.01)
    assert box.received == passed


def test_the_mode_is_put_back_when_the_start_is_refused(daemon: Daemon, box: Box) -> None:
    daemon.on(f"POST /containers/{ID}/start", reply(500, {"message": "port is taken"}))
    terminal = Terminal(daemon.url, "run", "-it", "busybox")
    terminal.until(b"See 'corten run --help'.")
    assert not terminal.is_raw()
    assert terminal.end() == 125


def test_ctrl_c_without_a_terminal_is_sent_as_a_signal(daemon: Daemon, box: Box) -> None:
    terminal = Terminal(daemon.url, "run", "-i", "busybox")

    def killed(request: Request, connection: socket.socket) -> None:
        assert request.query == "signal=INT"
        connection.sendall(reply(204))
        os.write(terminal.fd, b"quit\n")

    daemon.on(f"POST /containers/{ID}/kill", killed)
    # The scripted output is no frame stream; that is what the daemon would send for a container without a terminal.
    daemon.on(f"POST /containers/{ID}/attach", lambda _request, connection: _framed(box, connection))
    terminal.until(b"ready")
    terminal.type(b"\x03")
    assert terminal.end() == 5


@pytest.mark.parametrize("words", [["run", "-i", "busybox"], ["run", "-t", "busybox"], ["attach", "box"]])
def test_the_third_ctrl_c_ends_the_client(daemon: Daemon, box: Box, words: list[str]) -> None:
    """The program takes no notice, and at the third the daemon does not even answer."""
    killed = threading.Semaphore(0)

    def kill(request: Request, connection: socket.socket) -> None:
        killed.release()
        if len([one for one in daemon.named() if one == f"POST /containers/{ID}/kill"]) < 2:
            connection.sendall(reply(204))

    daemon.on(f"POST /containers/{ID}/kill", kill)
    inspected = {"Id": ID, "State": {"Running": True}, "Config": {"OpenStdin": True}}
    daemon.on("GET /containers/box/json", reply(200, inspected))
    daemon.on(f"POST /containers/{ID}/attach", lambda _request, connection: _deaf(box, connection))
    terminal = Terminal(daemon.url, *words)
    terminal.until(b"ready")
    for _ in range(2):
        terminal.type(b"\x03")
        assert killed.acquire(timeout=20)
    terminal.type(b"\x03")
    assert terminal.end() == 1
    assert terminal.seen.endswith(b"got 3 SIGTERM/SIGINTs, forcefully exiting\r\n")


# A shell's part: the client is a job in the foreground, and after it was stopped it is continued there.
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())  # before it executes anything
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
while os.WIFSTOPPED(status := os.waitpid(job, os.WUNTRACED)[1]):
    os.write(1, b"<stopped by %d>" % os.WSTOPSIG(status))
    os.tcsetpgrp(0, os.getpgrp())
    os.read(0, 100)
    os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("flag", ["-i", "-t"])
def test_ctrl_z_suspends_the_client(daemon: Daemon, box: Box, flag: str) -> None:
    daemon.on(f"POST /containers/{ID}/attach", lambda _request, connection: _deaf(box, connection))
    command = ["-c", SHELL, "-I", "-S", "-c", LAUNCH, str(SOURCE), "run", flag, "busybox"]
    terminal = Terminal(daemon.url, command=command)
    terminal.until(b"ready")
    terminal.type(b"\x1a")
    terminal.until(b"<stopped by %d>" % signal.SIGTSTP)
    assert f"POST /containers/{ID}/kill" not in daemon.named()
    box.go_on.set()
    terminal.type(b"fg\n")
    assert terminal.end() == 5


def _deaf(box: Box, connection: socket.socket) -> None:
    """A program that reads nothing and ignores signals, until the event."""
    connection.sendall(UPGRADED + b"\x01\0\0\0\0\0\0\x05ready")
    box.go_on.wait(20)
    box.ended.set()
    connection.shutdown(socket.SHUT_WR)


def _framed(box: Box, connection: socket.socket) -> None:
    connection.sendall(UPGRADED + b"\x01\0\0\0\0\0\0\x05ready")
    while b"quit" not in box.received:
        box.received += connection.recv(100)
    box.ended.set()
    connection.shutdown(socket.SHUT_WR)


def test_a_signal_that_is_not_forwarded_ends_us_with_the_mode_put_back(daemon: Daemon, box: Box) -> None:
    terminal = Terminal(daemon.url, "run", "-it", "--sig-proxy=false", "busybox")
    terminal.until(b"prompt# ")
    # Without a descriptor of our own the terminal would be gone with its last user.
    kept = os.open(os.readlink(f"/proc/{terminal.pid}/fd/0"), os.O_RDWR | os.O_NOCTTY)
    os.kill(terminal.pid, signal.SIGTERM)
    _, status = os.waitpid(terminal.pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
    assert termios.tcgetattr(kept)[3] & termios.ICANON
    os.close(kept)
    os.close(terminal.fd)


def test_default_detach_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CORTEN_CONFIG", str(tmp_path))
    assert attached.detach_keys(Session("attach"), "") == ("", parse(DEFAULT))


def test_bad_detach_keys() -> None:
    with pytest.raises(CommandError, match="invalid detach keys: unknown character: 'foo'"):
        attached.detach_keys(Session("attach"), "ctrl-a,foo")


def test_bars_keep_their_lines() -> None:
    """The bytes are those that the docker client wrote for the same stream."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
    screen = progress.Screen(slave)
    screen.show({"status": "Pulling from big", "id": "1"})
    screen.show({"status": "Already exists", "progressDetail": {}, "id": "aa"})
    screen.show({"status": "Pulling fs layer", "progressDetail": {}, "id": "bb"})
    screen.show({"status": "Downloading", "progressDetail": {"current": 107, "total": 107}, "id": "aa"})
    screen.show({"status": "Status: done"})
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):
        while data := os.read(master, 65536):
            seen += data
    os.close(master)
    full = b"=" * 50
    assert seen == (
        b"1: Pulling from big\r\n"
        b"\r\n\x1b[1A\x1b[2K\raa: Already exists \r\x1b[1B"
        b"\r\n\x1b[1A\x1b[2K\rbb: Pulling fs layer \r\x1b[1B"
        b"\x1b[2A\x1b[2K\raa: Downloading [" + full + b">]     107B/107B\r\x1b[2B"
        b"Status: done\r\n"
    )


@pytest.mark.parametrize(
    ("detail", "width", "text"),
    [
        ({}, 140, ""),
        ({"current": 1500}, 140, "   1.5kB"),
        ({"current": 5, "total": 10}, 80, "      5B/10B"),
        ({"current": 5, "total": 10}, 120, "[" + "=" * 25 + ">" + " " * 25 + "]       5B/10B"),
        ({"current": 20, "total": 10}, 80, "     20B"),
        ({"current": 3, "total": 4, "units": "layers"}, 80, "3/4 layers"),
        ({"current": 3, "units": "s"}, 80, "3 s"),
    ],
)
def test_bars(detail: dict[str, object], width: int, text: str) -> None:
    assert progress.bar(detail, width) == text
