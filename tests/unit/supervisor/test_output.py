"""What a process has written when it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.supervisor.logfile import LogFile
from corten.supervisor.loop import Loop
from corten.supervisor.output import Output, Stdio
from corten.supervisor.requests import Attachment

_F_SETPIPE_SZ = 1031
LARGE = 1 << 20


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


class Log(LogFile):
    """Counts what comes. `refill` is written to again with each piece, by one that is as quick as the reader."""

    def __init__(self, refill: int = -1) -> None:
        super().__init__("", 0, 1)
        self.size, self.refill = 0, refill

    def write(self, stream: str, data: bytes) -> None:
        self.size += len(data)
        assert self.size <= 4 * LARGE, "it goes on for ever"
        if self.refill >= 0:
            os.write(self.refill, bytes(len(data)))


def output(loop: Loop, stdio: Stdio, log: Log, tmp_path: Path) -> Output:
    return Output(loop, stdio, log, str(tmp_path), False, False, lambda: None)


def test_all_that_was_written_is_taken(loop: Loop, tmp_path: Path) -> None:
    stdio, log = Stdio(terminal=False, stdin=False), Log()
    assert stdio.child is not None
    fcntl.fcntl(stdio.child[1], _F_SETPIPE_SZ, LARGE)
    os.write(stdio.child[1], bytes(LARGE))
    os.write(stdio.child[2], bytes(1000))
    pumped = output(loop, stdio, log, tmp_path)
    pumped.drain()
    assert (log.size, pumped.draining) == (LARGE + 1000, False)
    pumped.close()


def test_what_was_written_until_now_is_taken_and_more_may_come(loop: Loop, tmp_path: Path) -> None:
    stdio, log = Stdio(terminal=False, stdin=False), Log()
    assert stdio.child is not None
    pumped = output(loop, stdio, log, tmp_path)
    for written in (1000, 2000):
        os.write(stdio.child[1], bytes(1000))
        pumped.catch_up()
        assert (log.size, pumped.draining) == (written, True)
    pumped.close()


@pytest.mark.parametrize("size", [1 << 16, LARGE])
def test_one_that_goes_on_writing_is_not_read_for_ever(loop: Loop, tmp_path: Path, size: int) -> None:
    """Another container may have been given the pipe, and have made it larger."""
    stdio = Stdio(terminal=False, stdin=False)
    assert stdio.child is not None
    fcntl.fcntl(stdio.child[1], _F_SETPIPE_SZ, size)
    os.write(stdio.child[1], bytes(size))
    log = Log(refill=stdio.child[1])
    pumped = output(loop, stdio, log, tmp_path)
    pumped.drain()
    assert (log.size, pumped.draining) == (size, False)
    pumped.close()


def test_a_terminal_s_output_ends_as_well(loop: Loop, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    stdio = Stdio(terminal=True, stdin=False)
    os.write(slave, b"x" * 100)
    stdio.started(master)
    log = Log(refill=slave)
    pumped = output(loop, stdio, log, tmp_path)
    pumped.drain()
    assert 100 <= log.size <= 2 * LARGE and not pumped.draining
    pumped.close()
    os.close(slave)


def test_a_terminal_s_input_leaves_no_descriptor(loop: Loop, tmp_path: Path) -> None:
    """Each `exec -it` of a container left one, and its terminal with it."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        master, slave = pty.openpty()
        stdio = Stdio(terminal=True, stdin=True)
        stdio.started(master)
        pumped = Output(loop, stdio, Log(), str(tmp_path), True, True, lambda: None)
        os.close(slave)
        pumped.drain()
        pumped.finish()
        pumped.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_client_that_has_gone_as_it_comes_is_not_kept(loop: Loop, tmp_path: Path) -> None:
    """By what it is sent, or by what it has sent, before it is attached."""
    master, slave = pty.openpty()
    stdio = Stdio(terminal=True, stdin=True)
    stdio.started(master)
    detached: list[int] = []
    pumped = Output(loop, stdio, Log(), str(tmp_path), True, True, lambda: detached.append(1))
    for options in (Attachment(replay=b"hi"), Attachment(stdin=True, early=b"\x10", detach_keys=b"\x10")):
        ours, theirs = socket.socketpair()
        if options.replay:
            theirs.close()
        pumped.attach(ours, options)
        assert pumped.clients == [] and ours.fileno() < 0
        theirs.close()
    assert detached == [1]
    pumped.close()
    os.close(slave)
