"""Further processes in a supervisor's instance, from the request to the end."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from corten.error_codec import encode
from corten.errors import CortenError, NotFound, StartFailed
from corten.instance.contract import Execution, Process
from corten.supervisor.loop import READ, Loop
from corten.supervisor.output import Output, Stdio
from corten.supervisor.requests import Attachment

Json = dict[str, Any]
Reply = Callable[[Json], None]
Client = tuple[int, Attachment]  # a socket, and how to serve it

LINGER = 3600.0  # seconds that a client which still reads may take to have the last of the output
_UNREPORTED = 1000  # ends that are remembered for a daemon to come


class Exec:
    """One of them. `status` is None while it runs."""

    def __init__(self, name: str, stdio: Stdio, process: Process) -> None:
        self.name = name
        self.stdio = stdio
        self.process = process
        self.pid = process.pid
        self.output: Output | None = None
        self.status: int | None = None


class Execs:
    """Those that run, and those that ended while no daemon was connected. `send_event` says whether one was, `why` the
    reason of a failure."""

    def __init__(
        self, loop: Loop, spill: str, send_event: Callable[[Json], bool], why: Callable[[Exception], Exception]
    ) -> None:
        self._loop = loop
        self._spill = spill
        self._send_event = send_event
        self._why = why
        self._all: dict[str, Exec] = {}

    def begin(self, request: Execution, stdio: Stdio, process: Process, client: Client | None, reply: Reply) -> None:
        """Go on with a process on its way in; the answer is sent when its program runs, or cannot. Nothing is waited
        for meanwhile: the container's output must be drained even when a working directory hangs. `client` is ours."""
        exec_ = Exec(request.id, stdio, process)
        fd = process.ready

        def ready(_: int) -> None:
            self._loop.forget(fd)
            try:
                console = process.started()
            except (CortenError, OSError) as error:
                reply({"error": _failed(exec_, client, self._why(error))})
                return
            if console is None:
                self._loop.watch(fd, READ, ready)
                return
            self._runs(exec_, request.stdin, console, client)
            reply({"ok": {"pid": exec_.pid}})

        self._loop.watch(fd, READ, ready)

    def _runs(self, exec_: Exec, stdin: bool, console: int, client: Client | None) -> None:
        self._all[exec_.name] = exec_
        exec_.stdio.started(console)

        def detached() -> None:
            self._send_event({"event": "detach", "exec": exec_.name})

        exec_.output = Output(self._loop, exec_.stdio, None, self._spill, stdin, True, detached)
        if client:
            exec_.output.attach(socket.socket(fileno=client[0]), client[1])
        self._loop.watch(exec_.process.ended, READ, lambda _: self._end(exec_))

    def _end(self, exec_: Exec) -> None:
        self._loop.forget(exec_.process.ended)
        exec_.status = exec_.process.reap()
        assert exec_.output is not None
        exec_.output.drain()
        exec_.output.finish()
        reported = self._send_event({"event": "exec_exit", "exec": exec_.name, "status": exec_.status})
        self._loop.after(0.0 if not exec_.output.busy else LINGER, lambda: self._close(exec_, reported))

    def _close(self, exec_: Exec, reported: bool) -> None:
        assert exec_.output is not None
        exec_.output.close()
        ended = [name for name, other in self._all.items() if other.status is not None]
        for name in [exec_.name] if reported else ended[:-_UNREPORTED]:
            self._all.pop(name, None)

    def output(self, name: str) -> Output | None:
        """Where that one's output goes; None when it has ended."""
        exec_ = self._all.get(name)
        return exec_.output if exec_ and exec_.status is None else None

    def signal(self, name: str, number: int) -> None:
        """NotFound when it has ended."""
        exec_ = self._all.get(name)
        if exec_ is None or exec_.status is not None:
            raise NotFound(f"no such exec: {name}")
        exec_.process.signal(number)

    def report(self) -> Json:
        """For a daemon that connects later: {name: {"pid", "status"}}; status is null while it runs."""
        return {exec_.name: {"pid": exec_.pid, "status": exec_.status} for exec_ in self._all.values()}

    def end_all(self) -> None:
        """The instance has ended, and they with it."""
        for exec_ in list(self._all.values()):
            if exec_.status is None:
                self._end(exec_)

    def outputs(self) -> list[Output]:
        return [exec_.output for exec_ in self._all.values() if exec_.output]


def _failed(exec_: Exec, client: Client | None, failure: Exception) -> Json:
    exec_.stdio.close()
    if client and isinstance(failure, (StartFailed, OSError)):
        refuse(client, failure)
    elif client:
        os.close(client[0])  # the daemon says it
    return encode(failure)


def refuse(client: Client, failure: Exception) -> None:
    """Say in its stream why its process does not start, and close that."""
    with socket.socket(fileno=client[0]) as connection:
        _say(connection, f"OCI runtime exec failed: {encode(failure)['text']}\r\n", client[1])


def _say(connection: socket.socket, text: str, options: Attachment) -> None:
    data = text.encode()
    header = b"\x01\0\0\0" + len(data).to_bytes(4, "big") if options.mux else b""
    try:
        connection.sendall(header + data)
    except OSError:
        pass  # the client has disconnected; the answer to the daemon says the same
