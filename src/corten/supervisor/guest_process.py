"""The streams of a process in a guest, between frames and the descriptors that a supervisor's `Output` has."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from corten.errors import Conflict, CortenError
from corten.instance.contract import ChildStdio
from corten.supervisor.guest_work import reopened
from corten.vm.channel import Channel, Sink, Source
from corten.vm.frames import STDERR, STDIN, STDOUT

Identity = tuple[int, int]


class Streams:
    """Of one process. `console` is what its terminal is here, None without one."""

    def __init__(self) -> None:
        self.console: Identity | None = None
        self._sinks: list[Sink] = []
        self._source: Source | None = None
        self._input = -1

    @staticmethod
    def identity(fd: int) -> Identity:
        status = os.fstat(fd)
        return status.st_dev, status.st_ino

    def open(self, channel: Channel, stream: int, stdio: ChildStdio) -> int:
        """Take what is written; the console, the caller's to close, or -1."""
        if stdio is None:
            ours, theirs = socket.socketpair()
            self._input = ours.detach()
            self.console = self.identity(theirs.fileno())
            self._sinks = [channel.sink(STDOUT, stream, os.dup(self._input)), channel.sink(STDERR, stream, -1)]
            return theirs.detach()
        self._input = reopened(stdio[0], os.O_RDONLY)
        self._sinks = [
            channel.sink(STDOUT, stream, reopened(stdio[1], os.O_WRONLY)),
            channel.sink(STDERR, stream, reopened(stdio[2], os.O_WRONLY)),
        ]
        return -1

    def begin(self, channel: Channel, stream: int) -> None:
        """Send what comes for it: there is a process."""
        if self._input >= 0:
            self._source = channel.source(STDIN, stream, self._input, lambda: None)
            self._input = -1

    def finish(self, done: Callable[[], None]) -> None:
        """It has ended. `done` is called when all that it wrote is written here. What comes behind that is lost: a
        guest can send as quickly as this writes, and the end would never be reported."""
        waiting = len(self._sinks)

        def written() -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                self._end_input()
                done()

        if not self._sinks:
            done()
        for sink in self._sinks:
            sink.end()
            sink.then(written)

    def _end_input(self) -> None:
        if self._source:
            self._source.close()
        if self._input >= 0:
            os.close(self._input)
        self._source, self._input, self.console = None, -1, None
        for sink in self._sinks:
            sink.end()

    def close(self) -> None:
        """What is not written yet never is."""
        for sink in self._sinks:
            sink.close()
        self._end_input()
        self._sinks = []


class GuestProcess:
    """`corten.instance.contract.Process` of a further program in a guest."""

    def __init__(self, channel: Channel, stream: int, stdio: ChildStdio, signal: Callable[[int, int], None]) -> None:
        self.pid = 0  # it has none here
        self.stream = stream
        self.streams = Streams()
        self._channel, self._signal = channel, signal
        self.ready, self.ended = (os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(2))
        self._console = self.streams.open(channel, stream, stdio)
        self.begun = False  # the guest has answered
        self._error: CortenError | OSError | None = None
        self._status: int | None = None

    def begins(self, error: CortenError | OSError | None) -> None:
        """The guest's answer: its program runs, or why not."""
        self._error = error
        self.begun = True
        if error is None:
            self.streams.begin(self._channel, self.stream)
        os.eventfd_write(self.ready, 1)

    def exits(self, status: int) -> None:
        """The guest's word, or that of the guest's end."""
        self._status = status
        if not self.begun:
            self.begins(Conflict("the container is not running: its guest has ended"))
        self.streams.finish(self._written)

    def _written(self) -> None:
        if self.ended >= 0:
            os.eventfd_write(self.ended, 1)

    def started(self) -> int | None:
        if not self.begun:
            return None
        os.close(self.ready)
        self.ready = -1
        if self._error is not None:
            self.discard()
            raise self._error
        console, self._console = self._console, -1
        return console

    def signal(self, number: int) -> None:
        if self._status is None:
            self._signal(self.stream, number)

    def reap(self) -> int:
        """Also of one whose end did not come: its guest has ended."""
        self.streams.close()
        os.close(self.ended)
        self.ended = -1
        return 137 if self._status is None else self._status

    def discard(self) -> None:
        """It never ran."""
        self.streams.close()
        for fd in (self.ready, self.ended, self._console):
            if fd >= 0:
                os.close(fd)
        self.ready = self.ended = self._console = -1
