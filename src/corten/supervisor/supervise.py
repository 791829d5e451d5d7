"""One container's owner, from its creation to its end.

It is forked from the launcher, outlives it and the daemon, and is the only parent of the container's first process.
Any number of daemons may connect to its socket, one after the other or at once; `requests` has what each may ask. What
it owns is an `Instance` (`corten.instance.contract`), of which nothing but that protocol is used here.
Whatever happens, three things hold: the container's output is always drained, its end is on disk before it is reported,
and this process ends with it.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar, assert_never

from corten.error_codec import encode
from corten.errors import Conflict, StartFailed, Unsupported
from corten.instance.contract import Created, Instance, Look, NetworkChange, Size, TreeRequest, Work
from corten.kernel import process as p
from corten.supervisor import clone, emulation, endings, failures, requests, reserve, wire
from corten.supervisor.clone import timed
from corten.supervisor.connection import Connection
from corten.supervisor.cri_log import CriLog, log_of
from corten.supervisor.execs import LINGER, Execs, refuse
from corten.supervisor.external import External
from corten.supervisor.failures import print_exception
from corten.supervisor.loop import READ, Loop
from corten.supervisor.native import Native
from corten.supervisor.output import Output, Stdio
from corten.supervisor.waits import Waits

Json = dict[str, Any]
Reply = Callable[[Json], None]
T = TypeVar("T")

_OOM_REST = 1.0  # seconds between two reports that memory was lacking


class Supervisor:
    def __init__(self, request: requests.Create, fds: list[int], become: clone.Become = clone.become) -> None:
        self._request = request
        self._become = become
        self._loop = Loop()
        self._directory = request.run
        self._execs = Execs(self._loop, request.spill, self._send_event, self._why)
        self._connections: list[Connection] = []
        self._waits = Waits()
        self._pid = 0
        self._first = -1  # the first process, readable when it has ended
        self._output: Output | None = None
        self._ended = False
        self._started = False
        self._paused = False
        self._works: list[Work] = []  # about its tree
        self._oom_fd = -1
        self._oom_reported = False
        self._oom_rests = self._oom_again = False  # since the last report; whether there is something to be reported
        control, *rest = fds
        self._control = socket.socket(fileno=control)
        self._filter_fd = rest.pop(0) if request.has_filter else -1
        self._first_clients = list(zip(rest, request.clients))
        self._of_guest = rest[len(request.clients) :]
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
            clone.collect()
            return
        timing |= {f"supervisor.{name}": seconds for name, seconds in created.timing.items()}
        hello = {"event": "created", "version": wire.VERSION, "pid": created.pid}
        first.send({**hello, "timing": timing, "warnings": list(created.warnings)})
        clone.collect()
        self._loop.run()
        self._linger()

    def _create(self) -> Created:
        self._instance = _instance(self._request, self._filter_fd, self._become, self._of_guest)
        if self._request.emulators:  # to the end of this process
            emulation.hold(self._request.emulators, self._request.userns)
        stdio = Stdio(self._request.terminal, self._request.open_stdin)
        try:
            created = self._instance.create(stdio.child, self._request.size)
            self._listen_to(created, stdio)
        except BaseException:
            stdio.close()
            self._delete()
            raise
        return created

    def _listen_to(self, created: Created, stdio: Stdio) -> None:
        request = self._request
        stdio.started(created.console)
        self._log = log_of(*request.log)
        self._output = Output(
            self._loop, stdio, self._log, request.spill, request.open_stdin, request.stdin_once, self._detached
        )
        for fd, options in self._first_clients:
            self._output.attach(socket.socket(fileno=fd), options)
        self._first_clients = []
        self._pid, self._first = created.pid, created.ended
        self._loop.watch(created.ended, READ, lambda _: self._end(created.ended))
        self._oom_fd = created.oom
        if created.oom >= 0:
            self._loop.watch(created.oom, READ, self._oom)
        if self._instance.events >= 0:
            self._loop.watch(self._instance.events, READ, lambda _: self._instance.advance())
        self._listener = created.listener
        self._loop.accept(self._listener, self._came)

    def _detached(self) -> None:
        self._send_event({"event": "detach"})

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
        self._waits.lost(connection)
        if not self._started and not self._ended and not self._connections:
            # No daemon is left that could start what was created: the one that asked for it exited in between.
            self._instance.signal(signal.SIGKILL, False)

    def _send_event(self, message: Json) -> bool:
        """To every daemon that is connected; False when there is none."""
        for connection in tuple(self._connections):
            connection.send(message)
        return bool(self._connections)

    # ----------------------------------------------------------------------------------------------- requests

    def _received(self, connection: Connection, message: Json, fds: list[int]) -> None:
        number = message.get("id", 0)  # 0: nothing waits for the answer
        try:
            if "until" in message and message["until"] < time.monotonic():  # this process was stopped meanwhile
                raise TimeoutError("nothing waits for this request any more")
            answer = self._do(requests.decode(message), fds, connection, number)
            if answer is not None and number:
                connection.send({"id": number, "ok": answer})
        except Exception as error:  # a bug must not take the container down with it
            if not isinstance(error, failures.EXPECTED):
                print_exception()
            if number:
                connection.send({"id": number, "error": encode(error)})
        finally:
            clone.collect()
            for fd in fds:  # those that were not taken
                if fd >= 0:
                    os.close(fd)

    def _do(self, request: requests.Request, fds: list[int], asks: Connection, number: int) -> Any:
        """The answer, None when `asks` gets it later, to what it asked with this number."""
        # Not `match`: it takes 30 KiB of every supervisor. Frequent ones first: each class that is compared with is
        # written to (its reference count), on a page of its own.
        if isinstance(request, requests.Start):
            return self._start(request.hold, fds, asks)
        if isinstance(request, requests.Hold):
            return self._hold(request, fds, asks)
        if isinstance(request, requests.Counters):
            return self._instance.counters()
        if isinstance(request, requests.Exec):
            return self._exec(request, fds, lambda later: asks.send({"id": number, **later}))
        if isinstance(request, requests.Signal):
            return self._signal(request.number, request.all_processes)
        if isinstance(request, requests.Attach):
            return self._attach(request.client, fds)
        if isinstance(request, requests.Processes):
            return self._instance.processes()
        if isinstance(request, requests.Resize):
            return self._resize(request.size, request.name)
        if isinstance(request, requests.SignalExec):
            return self._signal_exec(request.name, request.number)
        if isinstance(request, requests.Pause):
            return self._pause()
        if isinstance(request, requests.Resume):
            return self._resume()
        if isinstance(request, requests.Table):
            return {"processes": list(self._instance.table())}
        if isinstance(request, requests.Update):
            return {"warnings": list(self._instance.update(request.resources))}
        if isinstance(request, requests.ABOUT_TREES):
            return self._work(request, fds)
        if isinstance(request, requests.AttachInterface):
            return self._attach_interface(request.name, fds)
        if isinstance(request, requests.DetachInterface):
            return self._detach_interface(request.name)
        if isinstance(request, requests.ABOUT_NETWORKS):
            return self._change_network(request, fds)
        if isinstance(request, requests.Dial):
            return self._dial(request.port, fds)
        if isinstance(request, requests.Release):
            return self._release(request)
        if isinstance(request, requests.WriteLog):
            return self._write_log()
        if isinstance(request, requests.ReopenLog):
            return self._reopen_log()
        assert_never(request)

    def _hold(self, request: requests.Hold, fds: list[int], owner: Connection) -> Json:
        self._hold_all((request.key,), fds, owner)
        return {}

    def _hold_all(self, keys: tuple[str, ...], fds: list[int], owner: Connection) -> None:
        for number, key in enumerate(keys):
            self._waits.hold(key, fds[number], owner)
            fds[number] = -1

    def _release(self, request: requests.Release) -> Json:
        self._waits.release(request.key, request.answer)
        return {}

    def _write_log(self) -> Json:
        assert self._output is not None
        self._output.catch_up()
        return {}

    def _reopen_log(self) -> Json:
        if not isinstance(self._log, CriLog):
            raise Unsupported("this container's log is not reopened: it is rotated here")
        self._log.reopen()
        return {}

    def _start(self, hold: tuple[str, ...], fds: list[int], owner: Connection) -> Json:
        timing: dict[str, float] = {}
        with timed(timing, "execve"):
            self._instance.start()
        self._started = True
        if hold:
            self._hold_all(hold, fds, owner)
        return {"timing": timing}

    def _attach(self, client: requests.Attachment, fds: list[int]) -> Json:
        assert self._output is not None
        (fd,) = fds
        reserve.check(fd)
        fds[0] = -1
        self._output.attach(socket.socket(fileno=fd), client)
        return {}

    def _signal(self, number: int, all_processes: bool) -> Json:
        self._instance.signal(number, all_processes)
        if number == signal.SIGKILL and self._paused:
            self._resume()  # a stopped process does not die
        return {}

    def _signal_exec(self, name: str, number: int) -> Json:
        self._execs.signal(name, number)
        return {}

    def _pause(self) -> Json:
        self._instance.pause()
        self._paused = True
        return {}

    def _resume(self) -> Json:
        self._instance.resume()
        self._paused = False
        return {}

    def _resize(self, size: Size, name: str) -> Json:
        output = self._execs.output(name) if name else self._output
        if output and output.console >= 0:
            self._instance.resize(output.console, size)
        return {}

    def _exec(self, request: requests.Exec, fds: list[int], reply: Reply) -> None:
        if self._paused:  # requests are read one after the other: a process cloned into a frozen group never answers
            raise Conflict("the container is paused")
        execution = request.execution
        client = (fds[0], request.client) if fds and request.client else None
        stdio: Stdio | None = None
        try:
            reserve.check_next()
            stdio = Stdio(execution.terminal, execution.stdin)
            process = self._instance.enter(execution, stdio.child)
        except Exception as error:
            if stdio is not None:
                stdio.close()
            reason = self._why(error)
            if client and isinstance(reason, (StartFailed, OSError)):  # of all others the daemon says it
                fds[0] = -1
                refuse(client, reason)
            if reason is error:
                raise
            raise reason from error
        if client:
            fds[0] = -1
        self._execs.begin(execution, stdio, process, client, reply)

    def _why(self, error: Exception) -> Exception:
        """Why an exec failed. That the container has just ended says more than what could not be done because of it.

        Its first process has no namespaces to join any more (ESRCH) before its end shows, which waits for all others.
        """
        gone = isinstance(error, StartFailed) and getattr(error, "errno", 0) == errno.ESRCH
        if gone or self._ended or (self._first >= 0 and select.select((self._first,), (), (), 0)[0]):
            return Conflict(f"container {self._request.id} is not running")
        return error

    def _work(self, request: TreeRequest, fds: list[int]) -> Json:
        if self._request.guest is requests.NO_GUEST:  # the files of one that does not run are seen by its guest alone
            self._check_started()
        reply, data = (*fds, -1) if isinstance(request, Look) else fds
        work = self._instance.work(request, reply, data)
        self._works.append(work)
        self._loop.watch(work.ended, READ, lambda _: self._worked(work))
        return {}

    def _worked(self, work: Work) -> None:
        self._works.remove(work)
        self._loop.forget(work.ended)
        work.reap()

    def _attach_interface(self, name: str, fds: list[int]) -> Json:
        self._check_started()
        (device,) = fds
        self._instance.attach(name, device)
        return {}

    def _detach_interface(self, name: str) -> Json:
        self._check_started()
        self._instance.detach(name)
        return {}

    def _change_network(self, change: NetworkChange, fds: list[int]) -> Json:
        self._check_started()
        self._instance.change_network(change, fds)
        return {}

    def _dial(self, port: int, fds: list[int]) -> Json:
        self._check_started()
        (connection,) = fds
        self._instance.dial(port, connection)
        return {}

    def _check_started(self) -> None:
        if not self._started:
            raise Conflict("the container has not been started")

    # ---------------------------------------------------------------------------------------------------- end

    def _oom(self, _: int) -> None:
        """What comes within a second of the last report is one report at its end: a guest can say it without an end,
        and a program that is killed and begun again and again brings it about as often."""
        if not self._instance.out_of_memory() or self._ended:
            return
        if self._oom_rests:
            self._oom_again = True
            return
        self._oom_reported = self._oom_rests = True
        self._send_event({"event": "oom"})
        self._loop.after(_OOM_REST, self._oom_rested)

    def _oom_rested(self) -> None:
        self._oom_rests = False
        if self._oom_again and not self._ended:
            self._oom_again, self._oom_rests = False, True
            self._send_event({"event": "oom"})
            self._loop.after(_OOM_REST, self._oom_rested)

    def _end(self, ended: int) -> None:
        """The container's first process has exited."""
        assert self._output is not None
        self._ended = True
        self._loop.forget(ended)
        if self._oom_fd >= 0:  # it goes with the instance, and both may be ready at once
            self._loop.forget(self._oom_fd)
        status, out_of_memory, error = self._instance.ending()
        _tried(self._output.drain)
        _tried(self._log.close)
        ending = {"status": status, "at": time.time(), "oom_killed": out_of_memory, "error": error}
        if self._started:
            self._write_exit(ending)
        if self._oom_again or (out_of_memory and not self._oom_reported):
            self._send_event({"event": "oom"})
        self._send_event({"event": "exit", **ending})
        for work in self._works:  # not waited for: the kernel may hold one back
            _tried(work.end)
        _tried(self._execs.end_all)  # after that: one that the kernel holds back would hold the message back too
        self._output.finish()
        if self._instance.events >= 0:
            self._loop.forget(self._instance.events)
        self._delete()  # before the clients are done: with it goes what holds the container's file systems
        if self._listener:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
        remove_directory(self._directory)
        self._waits.end(status)
        for connection in tuple(self._connections):  # the last messages still wait in the socket
            connection.close()
        self._loop.stop()

    def _write_exit(self, ending: Json) -> None:
        """A disk that refuses it must not keep the end from those who are connected."""
        try:
            endings.write_exit(self._request.bundle, ending)
        except OSError:
            print_exception()

    def _delete(self) -> None:
        """What cannot be taken away now is swept by the next daemon."""
        _tried(self._instance.delete)

    def _linger(self) -> None:
        """Clients that have not read everything yet keep this process a little longer."""
        outputs = [*([self._output] if self._output else []), *self._execs.outputs()]
        deadline = time.monotonic() + LINGER
        while any(o.busy for o in outputs) and time.monotonic() < deadline:
            self._loop.step(1.0)
        for output in outputs:
            output.close()


def _instance(request: requests.Create, filter_fd: int, become: clone.Become, of_guest: list[int]) -> Instance:
    """The one place that chooses an implementation. `of_guest`: descriptors of a guest, which has them as long."""
    if request.runtime == "corten":
        return Native(request, filter_fd, become)
    if request.runtime == "vm":
        from corten.supervisor import guests  # which no other supervisor needs

        return guests.virtual(request, filter_fd, of_guest)
    return External(request)


def _tried(step: Callable[[], T]) -> T | None:
    """A step of the end. One that fails must not keep the others from being done: the end is waited for."""
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


def live(control: int, become: clone.Become = clone.become) -> None:
    """Own the container that comes over the daemon's connection, now or much later: supervisors are made ahead of
    their time. Returns when it has ended, or the daemon closed the connection before a container was created.
    """
    p.set_name("corten:spare", "spare supervisor")
    if frame := _wait_for_container(socket.socket(fileno=control)):
        p.set_name("corten:super", "supervisor", of=frame[0].id)
        Supervisor(*frame, become).run()


def _wait_for_container(daemon: socket.socket) -> tuple[requests.Create, list[int]] | None:
    """The first request with its descriptors, the connection before them; None when the daemon disconnected."""
    for message, fds in wire.frames(daemon):
        return requests.decode_create(message), [daemon.detach(), *fds]
    return None
