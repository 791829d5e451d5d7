"""Our own runtime, as a supervisor drives it."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any, NoReturn

from corten.error_codec import decode
from corten.errors import Conflict, NotFound
from corten.kernel import process as p
from corten.runtime import cgroups, spawn
from corten.runtime.cgroups import Cgroup
from corten.runtime.plan import NAMESPACES
from corten.runtime.spawn import Entering
from corten.supervisor import failures, maker
from corten.supervisor.created import Created
from corten.supervisor.output import Stdio

Json = dict[str, Any]


class Native:
    """One container made by `corten.runtime`. Nothing of its specification is kept here; see `maker`."""

    def __init__(self, request: Json, filter_fd: int, become: maker.Become = maker.become) -> None:
        self._request = request
        self._become = become
        self._filter_fd = filter_fd  # the compiled system call filter, -1 for none
        self._channel: socket.socket | None = None
        self._group: Cgroup | None = None
        self._path = ""
        self.own_pids = True

    @property
    def cgroup(self) -> Cgroup | None:
        """The container's control group, opened when somebody first asks for it; None before and after its time."""
        if self._group is None and self._path:
            try:
                self._group = cgroups.open(cgroups.here(), self._path)
            except NotFound:
                return None
        return self._group

    def create(self, stdio: Stdio, console_size: tuple[int, int]) -> Created:
        """Everything up to execve. Raises CortenError or OSError; `delete` takes away what there is then."""
        if self._request.get("born") is None:
            return self._create_by_maker(stdio, console_size)
        return self._create(stdio, console_size)

    def _create(self, stdio: Stdio, size: tuple[int, int]) -> Created:
        """One process, born where the container's first process has to be, makes itself that process."""
        pid, pidfd, reply = self._bear(stdio, size)
        channel = None
        try:
            body, fds = maker.answer_of(reply)
            if "error" in body:
                error = decode(body["error"])
                if isinstance(error, Conflict):  # other processes are in the group: `delete` must not kill them
                    self._path = ""
                raise error
            channel = socket.socket(fileno=fds[0])
            console, null, ready = spawn.until_ready(channel, pid, stdio.terminal)
        except BaseException:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(pidfd)
            if channel:
                channel.close()
            raise
        self._channel, self.own_pids = channel, body["own_pids"]
        steps: dict[str, float] = ready["timing"]
        timing = {**body["timing"], "init": sum(steps.values()), **{f"init.{step}": steps[step] for step in steps}}
        oom = fds[2] if body["oom"] else -1
        where = socket.socket(fileno=fds[1])
        return Created(pid, pidfd, console, null, timing, (*body["warnings"], *ready["warnings"]), where, oom)

    def _bear(self, stdio: Stdio, size: tuple[int, int]) -> tuple[int, int, socket.socket]:
        """(pid, pidfd, where its answer comes)."""
        request = self._request
        flags = sum(NAMESPACES[kind] for kind in request["born"])
        unified = cgroups.make_unified(cgroups.here(), request["cgroup"]) if request["cgroup"] else None
        self._path = request["cgroup"]
        ours, theirs = socket.socketpair()
        supervisor = os.getpid()
        try:
            pid, pidfd = p.clone3(flags, unified or 0)
            if pid == 0:
                self._child(maker.Wishes(self._filter_fd, stdio.child, size, unified, supervisor), theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            if unified is not None:
                os.close(unified)
        return pid, pidfd, ours

    def _child(self, wishes: maker.Wishes, reply: socket.socket) -> NoReturn:
        try:
            self._become(self._request, wishes, reply)
        except BaseException:  # a bug; in here nobody may go on as if this were the supervisor
            failures.print_exception()
        os._exit(125)

    def _create_by_maker(self, stdio: Stdio, size: tuple[int, int]) -> Created:
        """For who is born into namespaces that first have to be found and joined."""
        body, fds = maker.in_child(lambda born: maker.make(self._request, self._filter_fd, stdio.child, size, born))
        self._path, self.own_pids = body["cgroup"], body["own_pids"]
        pidfd, channel, listener, null, *rest = fds
        self._channel = socket.socket(fileno=channel)
        console = rest.pop(0) if body["console"] else -1
        oom = rest.pop(0) if body["oom"] else -1
        where = socket.socket(fileno=listener)
        return Created(body["pid"], pidfd, console, null, body["timing"], tuple(body["warnings"]), where, oom)

    def start(self) -> None:
        """execve. Raises ChildFailed with code 127 or 126."""
        assert self._channel is not None
        spawn.start(self._channel)

    def enter(self, request: Json, stdio: Stdio, target: int, target_fd: int, null: int) -> Entering:
        """Begin a further process. Raises NotFound, ChildFailed."""
        if self.cgroup is None:
            raise NotFound(f"control group {self._path} does not exist")
        return spawn.enter(
            lambda: maker.entry(self._request, request, stdio.child, target, target_fd, null),
            target,
            self.cgroup,
            lambda: maker.filter_of(self._filter_fd),
        )

    def delete(self) -> None:
        """After the end: nothing of the container is left in the kernel."""
        group = self.cgroup
        self._path, self._group = "", None
        if group:
            group.kill()
            group.remove()
