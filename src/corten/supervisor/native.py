"""Our own runtime as an instance."""

from __future__ import annotations

import os
import signal
import socket
from typing import NoReturn

from corten.error_codec import decode
from corten.errors import Conflict, NotFound
from corten.instance.contract import ChildStdio, Created, Execution, Size
from corten.kernel import process as p
from corten.runtime import cgroups, spawn
from corten.runtime.plan import NAMESPACES
from corten.supervisor import clone, failures
from corten.supervisor.processes import HostProcess, HostProcesses
from corten.supervisor.requests import Create


class Native(HostProcesses):
    """One container made by `corten.runtime`. Nothing of its specification is kept here; see `clone`."""

    def __init__(self, request: Create, filter_fd: int, become: clone.Become = clone.become) -> None:
        HostProcesses.__init__(self, request, cgroups.here)  # without the pages that `super` takes
        self._become = become
        self._filter_fd = filter_fd  # the compiled system call filter, -1 for none
        self._channel: socket.socket | None = None

    def create(self, stdio: ChildStdio, size: Size) -> Created:
        if self._request.clone_namespaces is None:
            return self._create_by_helper(stdio, size)
        return self._create(stdio, size, self._request.clone_namespaces)

    def _create(self, stdio: ChildStdio, size: Size, namespaces: tuple[str, ...]) -> Created:
        """One process, cloned where the container's first process has to be, makes itself that process."""
        pid, pidfd, reply = self._clone(stdio, size, namespaces)
        channel = None
        try:
            body, fds = clone.answer_of(reply)
            if "error" in body:
                error = decode(body["error"])
                if isinstance(error, Conflict):  # other processes are in the group: `delete` must not kill them
                    self._path = ""
                raise error
            channel = socket.socket(fileno=fds[0])
            console, self._null, ready = spawn.until_ready(channel, pid, stdio is None)
        except BaseException:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(pidfd)
            if channel:
                channel.close()
            raise
        self._pid, self._pidfd, self._channel, self._own_pids = pid, pidfd, channel, body["own_pids"]
        self._oom = fds[2] if body["oom"] else -1
        steps: dict[str, float] = ready["timing"]
        timing = {**body["timing"], "init": sum(steps.values()), **{f"init.{step}": steps[step] for step in steps}}
        listener = socket.socket(fileno=fds[1])
        return Created(pid, pidfd, console, listener, self._oom, timing, (*body["warnings"], *ready["warnings"]))

    def _clone(self, stdio: ChildStdio, size: Size, namespaces: tuple[str, ...]) -> tuple[int, int, socket.socket]:
        """(pid, pidfd, where its answer comes)."""
        request = self._request
        flags = sum(NAMESPACES[kind] for kind in namespaces)
        unified = cgroups.make_unified(cgroups.here(), request.cgroup) if request.cgroup else None
        self._path = request.cgroup
        ours, theirs = socket.socketpair()
        supervisor = os.getpid()
        try:
            pid, pidfd = p.clone3(flags, unified or 0)
            if pid == 0:
                self._child(clone.Inputs(self._filter_fd, stdio, size, unified, supervisor), theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            if unified is not None:
                os.close(unified)
        return pid, pidfd, ours

    def _child(self, inputs: clone.Inputs, reply: socket.socket) -> NoReturn:
        try:
            self._become(self._request, inputs, reply)
        except BaseException:  # a bug; this process must not go on as if it were the supervisor
            failures.print_exception()
        os._exit(125)

    def _create_by_helper(self, stdio: ChildStdio, size: Size) -> Created:
        """For a first process in namespaces that have to be found and joined before it is cloned."""
        body, fds = clone.in_child(lambda cloned: clone.create(self._request, self._filter_fd, stdio, size, cloned))
        self._pid, self._path, self._own_pids = body["pid"], body["cgroup"], body["own_pids"]
        self._pidfd, channel, listener, self._null, *rest = fds
        self._channel = socket.socket(fileno=channel)
        console = rest.pop(0) if body["console"] else -1
        self._oom = rest.pop(0) if body["oom"] else -1
        where = socket.socket(fileno=listener)
        return Created(self._pid, self._pidfd, console, where, self._oom, body["timing"], tuple(body["warnings"]))

    def start(self) -> None:
        assert self._channel is not None
        spawn.start(self._channel)

    def enter(self, execution: Execution, stdio: ChildStdio) -> HostProcess:
        if (group := self._cgroup) is None:
            raise NotFound(f"control group {self._path} does not exist")
        return HostProcess(
            spawn.enter(
                lambda: clone.entry(self._request, execution, stdio, self._pid, self._pidfd, self._null),
                self._pid,
                group,
                lambda: clone.filter_of(self._filter_fd),
            )
        )

    def delete(self) -> None:
        self._close()
        group = self._cgroup
        self._path, self._group = "", None
        if group:
            group.kill()
            group.remove()
