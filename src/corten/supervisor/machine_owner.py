"""The supervisor of a whole machine: owns QEMU, its console, its log, and the record of its end.

It is forked from the launcher, outlives it and the daemon, and ends with QEMU, which ends with it. What is done with
the machine is asked for in QEMU's own words (`machine_requests`), so that this process has to know few of them. Three
things hold: the console is always read and logged, the end is on disk before it is reported, and nothing is left.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from corten.error_codec import encode
from corten.errors import Conflict, CortenError, Failed, StartFailed
from corten.kernel import process as p
from corten.runtime import cgroups
from corten.runtime.cgroups import Cgroup
from corten.spec.dhcp import Lease
from corten.supervisor import endings, failures, machine_requests, place, requests, wire
from corten.supervisor.connection import Connection
from corten.supervisor.failures import print_exception
from corten.supervisor.logfile import LogFile
from corten.supervisor.loop import READ, Loop
from corten.supervisor.machine_leases import Leases
from corten.supervisor.machine_names import Names
from corten.supervisor.machine_requests import VERSION, Begin
from corten.supervisor.machine_stall import Stall
from corten.supervisor.machine_talk import Talk
from corten.supervisor.output import Output, Stdio
from corten.supervisor.supervise import remove_directory
from corten.vm import board, confine, passthrough, tpm
from corten.vm.qemu import lines, openable
from corten.vm.tpm import Swtpm

Json = dict[str, Any]

_KEPT = 16384  # bytes of what QEMU has written to its standard error
_LINGER = 10.0  # seconds for clients of the console that have not read all yet
_PORT = "agent"  # of the agent, as `vm.board` calls it
_SIGNAL = 128  # a status above it is that of a signal
_ORDERLY = ("guest-shutdown", "host-qmp-quit", "host-qmp-system-reset", "guest-reset")


class Owner:
    """Of one machine. What fails at its beginning is reported to the daemon, and nothing is left."""

    def __init__(self, request: Begin, fds: list[int]) -> None:
        self._request = request
        self._loop = Loop()
        self._connections: list[Connection] = []
        self._first = Connection(self._loop, socket.socket(fileno=fds[0]), self._received, self._lost)
        self._connections.append(self._first)
        self._given = fds[1:]
        self._open = ExitStack()
        self._group: Cgroup | None = None
        self._errors, self._said = -1, b""
        self._reason, self._panicked, self._agent_there = "", False, False
        self._is_to_end = self._ended = False
        self._listener: socket.socket | None = None
        self._leases = Leases(self._loop)
        self._names: Names | None = None
        self._monitor: Talk | None = None
        self._stall: Stall | None = None
        self._agent: Talk | None = None
        self._tpm: Swtpm | None = None
        self._problem = ""

    def run(self) -> None:
        """Until the machine has ended."""
        try:
            self._begin()
        except failures.EXPECTED as error:
            self._take_away()
            remove_directory(self._request.run)
            self._first.send({"event": "failed", **encode(error)})
            return
        self._loop.run()
        deadline = time.monotonic() + _LINGER
        while self._output.busy and time.monotonic() < deadline:
            self._loop.step(1.0)
        self._output.close()

    # ------------------------------------------------------------------------------------------------------- begin

    def _begin(self) -> None:
        request = self._request
        place.prepare(request.run, request.directory)
        self._log = LogFile(*request.log)
        self._group = cgroups.create(cgroups.here(), request.cgroup, request.resources)
        with ExitStack() as theirs:
            monitor, its_monitor = self._sockets(theirs)
            console, its_console = self._sockets(theirs)
            agent, its_agent = self._sockets(theirs)
            self._errors, errors = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._open.callback(os.close, self._errors)
            theirs.callback(os.close, errors)
            asks = self._given.pop() if request.names else -1
            if asks >= 0:
                self._open.callback(os.close, asks)
            taps = len(request.board.interfaces)
            opened, given = self._given[: len(self._given) - taps], self._given[len(self._given) - taps :]
            for index, (name, _) in enumerate(board.files(request.board)):
                if name in board.DIRECT:
                    opened[index] = openable(theirs, opened[index]) or opened[index]
            sockets = board.Sockets(its_monitor.fileno(), its_console.fileno(), its_agent.fileno(), self._begin_tpm())
            command = board.line(request.board, sockets, opened, given)
            self._pid, self._end_fd = confine.execute(
                command.arguments, command.descriptors, errors, self._group.enter_self,
                request.board.accelerator == "kvm", jail=passthrough.jail(request.board.passed),
                locked=passthrough.locked(request.board.passed, request.board.max_memory),
            )  # fmt: skip
        if asks >= 0:
            self._names = Names(self._loop, os.dup(asks))
        leases, servers = request.leases or [None] * taps, request.names or [""] * taps
        for device, lease, server in zip(given, leases, servers, strict=True):
            self._serve(device, lease, server)
        for fd in self._given:
            os.close(fd)
        self._given = []
        self._talk_to(monitor, agent, console)

    def _serve(self, device: int, lease: Lease | None, server: str) -> None:
        """What is answered on this tap: DHCP, and questions for names to the address `server`."""
        if lease is not None:
            self._leases.add(device, lease)
        if server and self._names is not None:
            self._names.add(device, server)

    def _begin_tpm(self) -> int:
        """The descriptor that QEMU has of it; -1 without one."""
        if not self._request.board.tpm:
            return -1
        assert self._group is not None
        self._tpm = Swtpm(tpm.program(), os.path.join(self._request.directory, "tpm"), self._group.enter_self)
        self._loop.watch(self._tpm.ended, READ, lambda _: self._lost_tpm())
        return self._tpm.connection.fileno()

    def _lost_tpm(self) -> None:
        """A machine does not go on without the keys that it has trusted to it."""
        assert self._tpm is not None
        self._loop.forget(self._tpm.ended)
        words = self._tpm.last_words()
        self._give_up(f"the machine's TPM (swtpm) has ended{f': {words}' if words else ''}")

    def _sockets(self, theirs: ExitStack) -> tuple[socket.socket, socket.socket]:
        ours, its = socket.socketpair()
        self._open.callback(ours.close)
        theirs.callback(its.close)
        return ours, its

    def _talk_to(self, monitor: socket.socket, agent: socket.socket, console: socket.socket) -> None:
        stdio = Stdio(terminal=True, stdin=True)
        stdio.started(os.dup(console.fileno()))
        console.close()
        self._output = Output(
            self._loop, stdio, self._log, self._request.directory, True, False, lambda: self._tell({"event": "detach"})
        )
        self._loop.watch(self._end_fd, READ, lambda _: self._end())
        self._loop.watch(self._errors, READ, lambda _: self._complained())
        self._agent = Talk(
            self._loop, agent, lambda name, data, at: None, lambda why: None, greets=False, who="its agent"
        )
        self._monitor = Talk(self._loop, monitor, self._happened, self._broken, greets=True)
        self._stall = Stall(self._loop, self._monitor)
        self._monitor.ask("query-status", {}, (), self._answers)

    def _answers(self, answer: Json) -> None:
        """QEMU's first word: now there is a machine."""
        if "ok" not in answer:
            return  # its end says why
        try:
            self._listener = place.settle(self._request.run, self._pid, os.getpid())
        except failures.EXPECTED as error:
            self._first.send({"event": "failed", **encode(error)})
            self._kill()
            return
        self._loop.accept(self._listener, self._came)
        self._first.send({"event": "created", **self._hello()})

    def _hello(self) -> Json:
        return {"version": VERSION, "pid": self._pid, "agent": self._agent_there}

    def _came(self, sock: socket.socket) -> None:
        connection = Connection(self._loop, sock, self._received, self._lost)
        self._connections.append(connection)
        connection.send({"event": "hello", **self._hello()})

    def _lost(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)

    def _tell(self, message: Json) -> None:
        for connection in tuple(self._connections):
            connection.send(message)

    # ------------------------------------------------------------------------------------------------- the machine

    def _happened(self, name: str, data: Json, at: float) -> None:
        if name == "SHUTDOWN":
            self._reason = str(data.get("reason", ""))[:40]
        elif name == "GUEST_PANICKED":
            self._panicked = True
        elif name == "VSERPORT_CHANGE" and data.get("id") == _PORT:
            self._agent_there = bool(data.get("open"))
            if not self._agent_there:
                self._forget_agent()
        if self._stall is not None:
            self._stall.happened(name, data)
        self._tell({"event": "qmp", "name": name, "data": data, "at": at})

    def _forget_agent(self) -> None:
        if self._agent is not None:
            self._agent.forget("the agent in the machine has ended")

    def _broken(self, why: str) -> None:
        """QEMU goes, or breaks the rules: then it is to go."""
        self._loop.after(5.0, lambda: self._give_up(f"QEMU's monitor {why}"))

    def _give_up(self, problem: str) -> None:
        if not self._ended:
            self._problem = self._problem or problem
            self._kill()

    def _complained(self) -> None:
        try:
            data = os.read(self._errors, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._loop.forget(self._errors)
        self._said = (self._said + data)[-_KEPT:]

    def _kill(self) -> None:
        if self._ended:
            return
        try:
            signal.pidfd_send_signal(self._end_fd, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended, and is about to be reaped

    # ----------------------------------------------------------------------------------------------------- requests

    def _received(self, connection: Connection, message: Json, fds: list[int]) -> None:
        number = message.get("id", 0)

        def reply(answer: Json) -> None:
            error = answer.get("error")
            connection.send({"id": number, **({"error": encode(Failed(error))} if error else answer)})

        try:
            answer = self._do(message, fds, reply)
            if answer is not None:
                connection.send({"id": number, "ok": answer})
        except Exception as error:  # a bug must not take the machine down with it
            if not isinstance(error, failures.EXPECTED):
                print_exception()
            connection.send({"id": number, "error": encode(error)})
        finally:
            for fd in fds:
                if fd >= 0:
                    os.close(fd)

    def _do(self, message: Json, fds: list[int], reply: Callable[[Json], None]) -> Json | None:
        match message.get("do"):
            case "ask":
                assert self._monitor is not None
                self._monitor.ask(message["command"], message.get("arguments") or {}, fds, reply)
                return None
            case "agent":
                if self._agent is None or not self._agent_there:
                    raise Conflict("QEMU's agent does not run in the machine: install qemu-guest-agent there")
                self._agent.ask(message["command"], message.get("arguments") or {}, (), reply)
                return None
            case "attach":
                (fd,) = fds
                fds[0] = -1
                self._output.attach(socket.socket(fileno=fd), requests.attachment(message["client"]))
            case "write log":
                self._output.catch_up()
            case "names":
                if self._names is None:
                    self._names = Names(self._loop, os.dup(fds[0]))
                else:
                    self._names.ask_by(os.dup(fds[0]))
            case "interface":
                self._serve(fds[0], machine_requests.lease(message["lease"]), str(message["names"]))
            case "kill":
                self._is_to_end = True
                self._kill()
            case "reach":
                pass
            case other:
                raise ValueError(f"unknown request {other!r}")
        return {}

    # ---------------------------------------------------------------------------------------------------------- end

    def _end(self) -> None:
        self._ended = True
        self._loop.forget(self._end_fd)
        self._complained()
        self._output.drain()
        self._log.close()
        status = p.reap(self._end_fd)
        words = lines(self._said)
        error = ""
        if self._panicked:
            status, error = 1, "the kernel of the machine has panicked"
        elif self._problem and status:
            error = self._problem
        elif self._reason not in _ORDERLY and status and not self._is_to_end:
            error = _why(status, words)
        ending = {"status": min(max(status, 0), 255), "at": time.time(), "oom_killed": False, "error": error,
                  "reason": self._reason}  # fmt: skip
        if self._listener is None:
            why = self._problem or f"QEMU has ended: {_why(status, words) or status}"
            self._tell({"event": "failed", **encode(StartFailed(why))})
        else:
            self._write(ending)
            self._loop.forget(self._listener.fileno())
            self._listener.close()
        self._output.finish()
        self._take_away()
        remove_directory(self._request.run)
        self._tell({"event": "exit", **ending})
        for connection in tuple(self._connections):
            connection.close()
        self._loop.stop()

    def _write(self, ending: Json) -> None:
        try:
            endings.write_exit(self._request.directory, ending)
        except OSError:
            print_exception()

    def _take_away(self) -> None:
        for fd in self._given:
            os.close(fd)
        self._given = []
        for talk in (self._monitor, self._agent):
            if talk is not None:
                talk.close()
        self._leases.close()
        if self._names is not None:
            self._names.close()
            self._names = None
        if self._tpm is not None:
            self._loop.forget(self._tpm.ended)
            self._tpm.close()
        self._open.close()
        group, self._group = self._group, None
        try:
            if group:
                group.kill()
                group.remove()
        except (OSError, CortenError):
            print_exception()


def _why(status: int, words: Sequence[str]) -> str:
    """QEMU has ended, by its last words; they say nothing of that where it was killed."""
    if words and status != _SIGNAL + signal.SIGKILL:
        return words[-1][:200]
    return _by_signal(status)


def _by_signal(status: int) -> str:
    """Why QEMU has ended that has written nothing, by its status as `p.reap` returns it; "" for a status of its own."""
    if status <= _SIGNAL:
        return ""
    number = status - _SIGNAL
    name = signal.Signals(number).name if number in set(signal.Signals) else "of another kind"
    return f"QEMU was ended by signal {number} ({name})"


def main(_: Json, fds: list[int]) -> None:
    """In a process forked for it: the machine that comes over the connection. Never returns."""
    status = 1
    try:
        p.set_name("corten:machine", "spare machine")
        daemon = socket.socket(fileno=fds[0])
        for message, given in wire.frames(daemon):
            request = machine_requests.decode(message)
            p.set_name("corten:machine", "machine", of=request.id)
            Owner(request, [daemon.detach(), *given]).run()
            break
        status = 0
    except BaseException:
        print_exception()
    os._exit(status)
