"""One container's owner, from its creation to its end.

It is forked from the launcher, outlives it and the daemon, and is the only parent of the container's first process.
Any number of daemons may connect to its socket, one after the other or at once; what each may ask is in `_DO`.
Whatever happens, three things hold: the container's output is always drained, its end is on disk before it is told,
and this process ends with it.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from corten.error_codec import encode
from corten.errors import CortenError
from corten.kernel import process as p
from corten.runtime.cgroups import Cgroup
from corten.supervisor import endings, failures, maker, wire
from corten.supervisor.connection import Connection
from corten.supervisor.created import Created
from corten.supervisor.execs import LINGER, Execs
from corten.supervisor.external import External
from corten.supervisor.failures import print_exception
from corten.supervisor.logfile import LogFile
from corten.supervisor.loop import READ, Loop
from corten.supervisor.maker import timed
from corten.supervisor.native import Native
from corten.supervisor.output import Output, Stdio

Json = dict[str, Any]
T = TypeVar("T")


class Supervisor:
    def __init__(self, request: Json, fds: list[int], become: maker.Become = maker.become) -> None:
        self._request = request
        self._become = become
        self._loop = Loop()
        self._directory: str = request["run"]
        self._execs = Execs(self._loop, request["bundle"], self._tell)
        self._terminal = bool(request.get("terminal"))
        self._connections: list[Connection] = []
        self._pid = 0
        self._pidfd = -1
        self._null = -1  # the container's
        self._oom_fd = -1
        self._output: Output | None = None
        self._ended = False
        self._started = False
        self._paused = False
        control, *rest = fds
        self._control = socket.socket(fileno=control)
        self._filter_fd = rest.pop(0) if request.get("filter") else -1
        self._first_clients = list(zip(rest, request.get("streams") or ()))
        self._listener: socket.socket | None = None

    # -------------------------------------------------------------------------------------------------- begin

    def run(self) -> None:
        """Own the container until it has ended. Returns when there is nothing left to do."""
        first = Connection(self._loop, self._control, self._received, self._lost)
        self._connections.append(first)
        try:
            timing: dict[str, float] = {}
            with timed(timing, "supervisor"):
                created = self._create()
        except failures.EXPECTED as error:
            remove_directory(self._directory)
            first.send({"event": "failed", **encode(error)})
            maker.collect()
            return
        timing |= {f"supervisor.{name}": seconds for name, seconds in created.timing.items()}
        hello = {"event": "created", "version": wire.VERSION, "pid": created.pid}
        first.send({**hello, "timing": timing, "warnings": list(created.warnings)})
        maker.collect()
        self._loop.run()
        self._linger()

    def _create(self) -> Created:
        request = self._request
        external = request.get("runtime", "corten") != "corten"
        self._container = External(request) if external else Native(request, self._filter_fd, self._become)
        stdio = Stdio(self._terminal, bool(request.get("open_stdin")))
        try:
            rows, columns = request.get("console_size") or (0, 0)
            created = self._container.create(stdio, (rows, columns))
            self._pid, self._pidfd, self._null = created.pid, created.pidfd, created.null
            self._listen_to(created, stdio)
        except BaseException:
            stdio.close()
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                p.reap(self._pidfd)
            self._delete()
            raise
        return created

    def _listen_to(self, created: Created, stdio: Stdio) -> None:
        request = self._request
        stdio.started(created.console)
        log = request.get("log") or {}
        self._log = LogFile(log.get("path") or "", log.get("max_size") or 0, log.get("max_file") or 1,
                            log.get("attrs") or "")  # fmt: skip
        self._output = Output(
            self._loop, stdio, self._log, request["bundle"], bool(request.get("open_stdin")),
            bool(request.get("stdin_once")), self._detached,
        )  # fmt: skip
        for fd, options in self._first_clients:
            self._output.attach(socket.socket(fileno=fd), options)
        self._first_clients = []
        self._loop.watch(self._pidfd, READ, lambda _: self._end())
        self._oom_fd = created.oom
        if self._oom_fd >= 0:
            self._loop.watch(self._oom_fd, READ, self._oom)
        self._listener = created.listener
        self._loop.accept(self._listener, self._came)

    def _detached(self) -> None:
        self._tell({"event": "detach"})

    def _came(self, sock: socket.socket) -> None:
        connection = Connection(self._loop, sock, self._received, self._lost)
        self._connections.append(connection)
        connection.send(
            {
                "event": "hello",
                "version": wire.VERSION,
                "pid": self._pid,
                "started": self._started,
                "paused": self._paused,
                "execs": self._execs.report(),
            }
        )

    def _lost(self, connection: Connection) -> None:
        self._connections.remove(connection)
        if not self._started and not self._ended and not self._connections:
            # Nobody is left who could start what was created: its daemon died in between.
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _tell(self, message: Json) -> bool:
        """To every daemon there is; says whether there is one."""
        for connection in tuple(self._connections):
            connection.send(message)
        return bool(self._connections)

    # ----------------------------------------------------------------------------------------------- requests

    def _received(self, connection: Connection, message: Json, fds: list[int]) -> None:
        number = message.get("id", 0)
        try:
            do = _DO.get(message.get("do", ""))
            if do is None:
                raise ValueError(f"unknown request {message.get('do')!r}")
            if "until" in message and message["until"] < time.monotonic():  # this process was stopped meanwhile
                raise TimeoutError("nothing waits for this request any more")
            answer = do(self, message, fds, lambda reply: connection.send({"id": number, **reply}))
            if answer is not None:
                connection.send({"id": number, "ok": answer})
        except failures.EXPECTED as error:
            connection.send({"id": number, "error": encode(error)})
        except Exception as error:  # a bug must not take the container down with it
            print_exception()
            connection.send({"id": number, "error": encode(error)})
        finally:
            maker.collect()
            for fd in fds:  # those that were not taken
                if fd >= 0:
                    os.close(fd)

    def _start(self, message: Json, fds: list[int], reply: Any) -> Json:
        timing: dict[str, float] = {}
        with timed(timing, "execve"):
            self._container.start()
        self._started = True
        return {"timing": timing}

    def _attach(self, message: Json, fds: list[int], reply: Any) -> Json:
        assert self._output is not None
        (fd,) = fds
        fds[0] = -1
        self._output.attach(socket.socket(fileno=fd), message["stream"])
        return {}

    def _signal(self, message: Json, fds: list[int], reply: Any) -> Json:
        number = int(message["signal"])
        if message.get("all") and self._container.cgroup:
            for pid in self._container.cgroup.pids():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
        else:
            signal.pidfd_send_signal(self._pidfd, number)
        if number == signal.SIGKILL and self._paused:
            self._resume(message, fds, reply)  # a frozen process does not die
        return {}

    def _pause(self, message: Json, fds: list[int], reply: Any) -> Json:
        self._group.freeze()
        self._paused = True
        return {}

    def _resume(self, message: Json, fds: list[int], reply: Any) -> Json:
        self._group.thaw()
        self._paused = False
        return {}

    def _resize(self, message: Json, fds: list[int], reply: Any) -> Json:
        name = message.get("exec")
        output = self._execs.output(name) if name else self._output
        if output:
            output.resize(int(message["rows"]), int(message["columns"]))
        return {}

    def _update(self, message: Json, fds: list[int], reply: Any) -> Json:
        return {"warnings": self._group.update(message["resources"])}

    def _pids(self, message: Json, fds: list[int], reply: Any) -> list[int]:
        return self._group.pids()

    def _stats(self, message: Json, fds: list[int], reply: Any) -> Json:
        return self._group.stats()

    @property
    def _group(self) -> Cgroup:
        if self._container.cgroup is None:
            raise ValueError("the container has no control group")
        return self._container.cgroup

    def _exec(self, message: Json, fds: list[int], reply: Callable[[Json], None]) -> None:
        request = message["exec"]
        stdio = Stdio(bool(request.get("terminal")), bool(request.get("stdin")))
        try:
            entering = self._container.enter(request, stdio, self._pid, self._pidfd, self._null)
        except BaseException:
            stdio.close()
            raise
        client = (fds[0], message["stream"]) if fds else None
        if fds:
            fds[0] = -1
        self._execs.begin(request, stdio, entering, client, reply)

    # ---------------------------------------------------------------------------------------------------- end

    def _oom(self, _: int) -> None:
        try:
            os.read(self._oom_fd, 4096)
        except BlockingIOError:
            return
        if not self._ended and self._group.oom_count() > 0:
            self._tell({"event": "oom"})

    def _end(self) -> None:
        """The container's first process is gone."""
        assert self._output is not None
        self._ended = True
        self._loop.forget(self._pidfd)
        status = p.reap(self._pidfd)
        oom = bool(_tried(self._out_of_memory))
        _tried(self._kill_rest)
        _tried(self._output.drain)
        _tried(self._log.close)
        ending = {"status": status, "at": time.time(), "oom_killed": oom, "error": ""}
        if self._started:
            self._write_exit(ending)
        if oom:
            self._tell({"event": "oom"})
        self._tell({"event": "exit", **ending})
        _tried(self._execs.end_all)  # after the end is told: one that the kernel holds back would hold that back too
        self._output.finish()
        os.close(self._null)  # or the container's /dev, and what is in it, stays as long as a client that reads slowly
        self._delete()
        if self._listener:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
        remove_directory(self._directory)
        for connection in tuple(self._connections):  # what they have been told last still waits in the socket
            connection.close()
        self._loop.stop()

    def _out_of_memory(self) -> bool:
        return bool(self._container.cgroup and self._container.cgroup.oom_count())

    def _kill_rest(self) -> None:
        """Without a PID namespace of its own the rest would live on."""
        if not self._container.own_pids and self._container.cgroup:
            self._container.cgroup.kill()

    def _write_exit(self, ending: Json) -> None:
        """A disk that refuses it must not keep the end from those who are connected."""
        try:
            endings.write_exit(self._request["bundle"], ending)
        except OSError:
            print_exception()

    def _delete(self) -> None:
        """Whatever cannot be taken away now is swept by the next daemon; the end must be told all the same."""
        try:
            self._container.delete()
        except (OSError, CortenError):
            print_exception()

    def _linger(self) -> None:
        """Clients that have not read everything yet keep this process a little longer."""
        outputs = [*([self._output] if self._output else []), *self._execs.outputs()]
        deadline = time.monotonic() + LINGER
        while any(o.busy for o in outputs) and time.monotonic() < deadline:
            self._loop.step(1.0)
        for output in outputs:
            output.close()


_DO: dict[str, Callable[[Supervisor, Json, list[int], Any], Any]] = {
    "start": Supervisor._start,
    "attach": Supervisor._attach,
    "exec": Supervisor._exec,
    "signal": Supervisor._signal,
    "pause": Supervisor._pause,
    "resume": Supervisor._resume,
    "resize": Supervisor._resize,
    "update": Supervisor._update,
    "pids": Supervisor._pids,
    "stats": Supervisor._stats,
}


def _tried(step: Callable[[], T]) -> T | None:
    """A step of the end. One that fails must not keep the others from being done: somebody waits for the end."""
    try:
        return step()
    except Exception:
        print_exception()
        return None


def remove_directory(path: str) -> None:
    """The run directory and the files in it; what cannot be removed stays for the daemon's sweep."""
    try:
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                remove_directory(entry.path)
            else:
                os.unlink(entry.path)
        os.rmdir(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            print_exception()


def main(request: Json, fds: list[int]) -> None:
    """A supervisor's life, in a process forked for it. Never returns."""
    status = 1
    try:
        live(fds[0])
        status = 0
    except BaseException:
        print_exception()
    os._exit(status)


def live(control: int, become: maker.Become = maker.become) -> None:
    """Own the container that comes over the daemon's connection, now or much later: supervisors are made ahead of
    their time. Returns when it has ended, or the daemon has let go before there was one.
    """
    p.set_name("corten:spare")
    if frame := _wait_for_container(socket.socket(fileno=control)):
        p.set_name("corten:super")
        Supervisor(*frame, become).run()


def _wait_for_container(daemon: socket.socket) -> tuple[Json, list[int]] | None:
    """The first request with its descriptors, the connection before them; None when the daemon has let go."""
    for request, fds in wire.frames(daemon):
        return request, [daemon.detach(), *fds]
    return None
