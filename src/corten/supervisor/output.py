"""Where a process's output goes: the log and the attached clients. And where its input comes from."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable

from corten.runtime.null import OF_CONTAINER
from corten.supervisor.clients import CHUNK, Client, Sink
from corten.supervisor.logfile import LogFile
from corten.supervisor.loop import READ, Loop
from corten.supervisor.requests import Attachment

_F_GETPIPE_SZ = 1032
_TERMINAL = 1 << 20  # bytes; the kernel keeps less than a tenth of that (tty_buffer_set_limit)
_NAMES = {1: "stdout", 2: "stderr"}


class Stdio:
    """The descriptors of one process, on our side: a terminal's master, or three pipes.

    `child` is what the process gets (see `Inheritance.stdio`); `started` closes it here, once the process has it.
    """

    def __init__(self, terminal: bool, stdin: bool) -> None:
        self.terminal = terminal
        self.child: tuple[int, int, int] | None = None
        self.stdin = -1
        self.outputs: dict[int, int] = {}  # our descriptor: stream
        self.console = -1
        if terminal:
            return
        out, out_child = os.pipe2(os.O_CLOEXEC)
        err, err_child = os.pipe2(os.O_CLOEXEC)
        if stdin:
            in_child, self.stdin = os.pipe2(os.O_CLOEXEC)
        else:
            in_child = OF_CONTAINER
        self.child = (in_child, out_child, err_child)
        self.outputs = {out: 1, err: 2}

    def started(self, console: int) -> None:
        self._close_child()
        if self.terminal:
            self.console = console
            self.outputs = {console: 1}

    def close(self) -> None:
        self._close_child()
        for fd in self.outputs:
            os.close(fd)
        if self.stdin >= 0:
            os.close(self.stdin)
        self.outputs, self.stdin = {}, -1

    def _close_child(self) -> None:
        for fd in self.child or ():
            if fd != OF_CONTAINER:
                os.close(fd)
        self.child = ()  # type: ignore[assignment]


def capacity(fd: int) -> int:
    """How many bytes can wait to be read: what holds the other end of a pipe may have made that larger."""
    try:
        return fcntl.fcntl(fd, _F_GETPIPE_SZ)
    except OSError:
        return _TERMINAL


class Output:
    """Pumps one process: always drains it, also without clients."""

    def __init__(
        self,
        loop: Loop,
        stdio: Stdio,
        log: LogFile | None,
        spill: str,
        wants_stdin: bool,
        stdin_once: bool,
        detached: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._stdio = stdio
        self._log = log
        self._spill = spill
        self._stdin_once = stdin_once
        self._detached = detached
        self._open = dict(stdio.outputs)
        self.clients: list[Client] = []
        self._sink: Sink | None = None
        if wants_stdin:
            terminal = stdio.terminal
            self._sink = Sink(loop, os.dup(stdio.console) if terminal else stdio.stdin, closes=not terminal)
            stdio.stdin = -1  # the sink's to close
        for fd in self._open:
            os.set_blocking(fd, False)
            loop.watch(fd, READ, lambda _, fd=fd: self._read(fd))  # type: ignore[misc]

    @property
    def draining(self) -> bool:
        """Whether output may still come."""
        return bool(self._open)

    def attach(self, connection: socket.socket, options: Attachment) -> None:
        if not self._stdio.terminal:
            options = options._replace(detach_keys=b"")  # Docker's keys are for terminals only: pipes carry any byte
        client = Client(self._loop, connection, options, self._sink, self._spill, self._client_closed)
        if not client.alive:  # it has gone, or left, by what came with it
            return
        self.clients.append(client)
        if not self._open:
            client.finish()

    def _client_closed(self, client: Client, why: str) -> None:
        ended = why == "end of input"
        if client.took_input and self._stdin_once and self._sink and why != "detach" and not self._stdio.terminal:
            self._sink.end()
        if ended:
            return
        if client in self.clients:
            self.clients.remove(client)
        if why == "detach":
            self._detached()

    def _read(self, fd: int) -> None:
        stream = self._open[fd]
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last process has closed the terminal's other side
            data = b""
        if data:
            self._deliver(stream, data)
            return
        self._end(fd)

    def _deliver(self, stream: int, data: bytes) -> None:
        """The log first: what an attached client has seen is in it."""
        if self._log:
            self._log.write(_NAMES[stream], data)
        for client in tuple(self.clients):
            client.output(stream, data)

    def _end(self, fd: int) -> None:
        self._loop.forget(fd)
        del self._open[fd]

    def drain(self) -> None:
        """Take what is in the pipes now, and stop: the process has ended, and others may hold them open for ever."""
        self.catch_up()
        for fd in tuple(self._open):
            self._end(fd)

    def catch_up(self) -> None:
        """Take what is in the pipes now. Processes may write as quickly as this reads, so no more is read than what
        there can be."""
        for fd in tuple(self._open):
            left = capacity(fd)
            while left > 0 and (taken := self._take(fd)):
                left -= taken

    def _take(self, fd: int) -> int:
        """How many bytes were there; 0 at the end, and when there are none now."""
        try:
            data = os.read(fd, CHUNK)
        except OSError:
            return 0
        if data:
            self._deliver(self._open[fd], data)
        return len(data)

    def finish(self) -> None:
        """Nothing more will come: clients are closed as they catch up."""
        for client in tuple(self.clients):
            client.finish()

    @property
    def busy(self) -> bool:
        return any(client.busy for client in self.clients)

    @property
    def console(self) -> int:
        """The terminal's, -1 without one."""
        return self._stdio.console

    def close(self) -> None:
        for client in tuple(self.clients):
            client.close("finished")
        for fd in tuple(self._open):
            self._loop.forget(fd)
        self._open.clear()
        if self._sink:
            self._sink.close()
        self._stdio.close()
