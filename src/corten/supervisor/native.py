"""Our own runtime, as a supervisor drives it."""

from __future__ import annotations

import socket
from typing import Any

from corten.errors import NotFound
from corten.runtime import cgroups, spawn
from corten.runtime.cgroups import Cgroup
from corten.runtime.spawn import Entering
from corten.supervisor import maker
from corten.supervisor.created import Created
from corten.supervisor.output import Stdio

Json = dict[str, Any]


class Native:
    """One container made by `corten.runtime`. Nothing of its specification is kept here; see `maker`."""

    def __init__(self, request: Json, filter_fd: int, make: maker.Make = maker.make) -> None:
        self._request = request
        self._make = make
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
                self._group = cgroups.open(cgroups.detect(), self._path)
            except NotFound:
                return None
        return self._group

    def create(self, stdio: Stdio, console_size: tuple[int, int]) -> Created:
        """Everything up to execve. Raises Reported; what was done is undone then."""
        body, fds = maker.in_child(
            lambda born: self._make(self._request, self._filter_fd, stdio.child, console_size, born)
        )
        self._path, self.own_pids = body["cgroup"], body["own_pids"]
        pidfd, channel, listener, *rest = fds
        self._channel = socket.socket(fileno=channel)
        console = rest.pop(0) if body["console"] else -1
        oom = rest.pop(0) if body["oom"] else -1
        where = socket.socket(fileno=listener)
        return Created(body["pid"], pidfd, console, body["timing"], tuple(body["warnings"]), where, oom)

    def start(self) -> None:
        """execve. Raises ChildFailed with code 127 or 126."""
        assert self._channel is not None
        spawn.start(self._channel)

    def enter(self, request: Json, stdio: Stdio, target: int, target_fd: int) -> Entering:
        """Begin a further process. Raises Reported."""
        where = maker.Target(target, target_fd, self._path, self._filter_fd)
        body, fds = maker.in_child(lambda born: maker.enter(self._request, request, stdio.child, where, born))
        pidfd, channel = fds
        return Entering(body["pid"], pidfd, socket.socket(fileno=channel), ())

    def delete(self) -> None:
        """After the end: nothing of the container is left in the kernel."""
        group = self.cgroup
        self._path, self._group = "", None
        if group:
            group.kill()
            group.remove()
