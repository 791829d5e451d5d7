"""Further processes in a supervisor's container, from the request to the end."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from corten.error_codec import encode
from corten.errors import CortenError
from corten.kernel import process as p
from corten.runtime import messages
from corten.runtime.spawn import Entering
from corten.supervisor.loop import READ, Loop
from corten.supervisor.output import Output, Stdio

Json = dict[str, Any]
Reply = Callable[[Json], None]
Client = tuple[int, Json]  # a socket, and how to serve it

LINGER = 3600.0  # seconds that a client which still reads may take to have the last of the output
_UNTOLD = 1000  # ends that are remembered for a daemon to come


class Exec:
    """One of them. `status` is None while it runs."""

    def __init__(self, name: str, stdio: Stdio, entering: Entering) -> None:
        self.name = name
        self.stdio = stdio
        self.pid = entering.pid
        self.pidfd = entering.pidfd
        self.console = -1
        self.output: Output | None = None
        self.status: int | None = None


class Execs:
    """Those that run, and those whose end no daemon was there to hear. `tell` says whether one was."""

    def __init__(self, loop: Loop, spill: str, tell: Callable[[Json], bool]) -> None:
        self._loop = loop
        self._spill = spill
        self._tell = tell
        self._all: dict[str, Exec] = {}

    def begin(self, request: Json, stdio: Stdio, entering: Entering, client: Client | None, reply: Reply) -> None:
        """Go on with a process on its way in; the answer goes out when its program runs, or cannot. Nothing is waited
        for meanwhile: the container's output must be drained even when a working directory hangs. `client` is ours."""
        exec_ = Exec(request["id"], stdio, entering)

        def said(_: int) -> None:
            try:
                word = messages.receive(entering.channel)
                if word is not None and word.kind == messages.CONSOLE:
                    exec_.console = word.fd
                    return
                failure = None
            except (CortenError, OSError) as error:
                failure = error
            self._loop.forget(entering.channel.fileno())
            entering.channel.close()
            if failure:
                reply({"error": _failed(exec_, client, failure)})
            else:
                self._runs(exec_, bool(request.get("stdin")), client)
                reply({"ok": {"pid": exec_.pid}})

        self._loop.watch(entering.channel.fileno(), READ, said)

    def _runs(self, exec_: Exec, stdin: bool, client: Client | None) -> None:
        self._all[exec_.name] = exec_
        exec_.stdio.started(exec_.console)

        def detached() -> None:
            self._tell({"event": "detach", "exec": exec_.name})

        exec_.output = Output(self._loop, exec_.stdio, None, self._spill, stdin, True, detached)
        if client:
            exec_.output.attach(socket.socket(fileno=client[0]), client[1])
        self._loop.watch(exec_.pidfd, READ, lambda _: self._end(exec_))

    def _end(self, exec_: Exec) -> None:
        self._loop.forget(exec_.pidfd)
        exec_.status = p.reap(exec_.pidfd)
        exec_.pidfd = -1
        assert exec_.output is not None
        exec_.output.drain()
        exec_.output.finish()
        told = self._tell({"event": "exec_exit", "exec": exec_.name, "status": exec_.status})
        self._loop.after(0.0 if not exec_.output.busy else LINGER, lambda: self._close(exec_, told))

    def _close(self, exec_: Exec, told: bool) -> None:
        assert exec_.output is not None
        exec_.output.close()
        ended = [name for name, other in self._all.items() if other.status is not None]
        for name in [exec_.name] if told else ended[:-_UNTOLD]:
            self._all.pop(name, None)

    def output(self, name: str) -> Output | None:
        """Where that one's output goes; None when it has ended."""
        exec_ = self._all.get(name)
        return exec_.output if exec_ and exec_.status is None else None

    def report(self) -> Json:
        """What a daemon that comes later has to know: {name: {"pid", "status"}}."""
        return {exec_.name: {"pid": exec_.pid, "status": exec_.status} for exec_ in self._all.values()}

    def end_all(self) -> None:
        """The container has ended, and they with it."""
        for exec_ in list(self._all.values()):
            if exec_.pidfd >= 0:
                self._end(exec_)

    def outputs(self) -> list[Output]:
        return [exec_.output for exec_ in self._all.values() if exec_.output]


def _failed(exec_: Exec, client: Client | None, failure: Exception) -> Json:
    os.waitpid(exec_.pid, 0)
    os.close(exec_.pidfd)
    exec_.stdio.close()
    if exec_.console >= 0:
        os.close(exec_.console)
    body = encode(failure)
    if client:
        with socket.socket(fileno=client[0]) as connection:
            _say(connection, f"OCI runtime exec failed: {body['text']}\r\n", client[1])
    return body


def _say(connection: socket.socket, text: str, options: Json) -> None:
    data = text.encode()
    header = b"\x01\0\0\0" + len(data).to_bytes(4, "big") if options.get("mux") else b""
    try:
        connection.sendall(header + data)
    except OSError:
        pass  # the client went away; the answer to the daemon tells the same
