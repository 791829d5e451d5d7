"""What every instance has in common whose processes are the host's: a pidfd, a control group, a place in /proc.

Our own runtime (`native`) and other OCI binaries (`external`) differ in how a container is created, started, entered
and deleted; all the rest is done here, by descriptors.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from corten.errors import Conflict, Failed, NotFound, Unsupported
from corten.instance.contract import Ending, NetworkChange, Size, TreeRequest
from corten.kernel import process as p
from corten.kernel import pty
from corten.runtime import cgroups, messages
from corten.runtime.cgroups import Cgroup
from corten.runtime.spawn import Entering
from corten.supervisor import clone, works
from corten.supervisor.failures import print_exception
from corten.supervisor.requests import Create
from corten.supervisor.works import HostWork

Json = dict[str, Any]


class HostProcesses:
    """`create` of a subclass sets `_pid` and all that follows it. Subclasses are an `Instance`, and say so nowhere: a
    protocol among a class's bases costs each supervisor some pages."""

    events = -1  # all that comes and goes is the processes' own

    def __init__(self, request: Create, layout: Callable[[], cgroups.Layout]) -> None:
        self._request = request
        self._layout = layout
        self._pid = 0
        self._pidfd = -1
        self._null = -1  # the container's null device, for further processes
        self._oom = -1
        self._path = ""  # of the control group
        self._group: Cgroup | None = None
        self._own_pids = True  # the kernel kills the other processes with the first one

    def advance(self) -> None:
        pass

    @property
    def _cgroup(self) -> Cgroup | None:
        """Opened when it is needed first; None before and after its time."""
        if self._group is None and self._path:
            try:
                self._group = cgroups.open(self._layout(), self._path)
            except NotFound:
                return None
        return self._group

    @property
    def _own_group(self) -> Cgroup:
        if (group := self._cgroup) is None:
            raise Failed("the container has no control group")
        return group

    def signal(self, number: int, all_processes: bool) -> None:
        group = self._cgroup if all_processes else None
        if group is None:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                raise Conflict("the container is not running") from None
            return
        for pid in group.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def pause(self) -> None:
        self._own_group.freeze()

    def resume(self) -> None:
        self._own_group.thaw()

    def resize(self, console: int, size: Size) -> None:
        pty.resize(console, *size)

    def update(self, resources: Json) -> Sequence[str]:
        return self._own_group.update(resources)

    def processes(self) -> list[int]:
        return self._own_group.pids()

    def table(self) -> Sequence[Json]:
        raise Unsupported("the processes are the host's: ps shows them")

    def counters(self) -> Json:
        return self._own_group.stats()

    def work(self, request: TreeRequest, reply: int, data: int) -> HostWork:
        return works.begin(self._request, self._pid, request, reply, data)

    def attach(self, name: str, device: int) -> None:
        def work(_: list[int]) -> clone.Answer:
            from corten.supervisor import interfaces  # which no other process needs

            interfaces.attach(self._pid, name, device)
            return clone.NOTHING

        clone.in_child(work)

    def detach(self, name: str) -> None:
        def work(_: list[int]) -> clone.Answer:
            from corten.supervisor import interfaces

            interfaces.detach(self._pid, name)
            return clone.NOTHING

        clone.in_child(work)

    def change_network(self, change: NetworkChange, fds: Sequence[int] = ()) -> None:
        raise Unsupported("the container's network is the host's: it is changed in its namespace")

    def dial(self, port: int, connection: int) -> None:
        raise Unsupported("the container's network is the host's: what listens is reached in its namespace")

    def out_of_memory(self) -> bool:
        try:
            os.read(self._oom, 4096)
        except BlockingIOError:
            return False
        group = self._own_group
        return group.oom_count() > 0 or group.under_oom()

    def ending(self) -> Ending:
        self._pidfd, pidfd = -1, self._pidfd
        status, out_of_memory = p.reap(pidfd), False
        try:
            out_of_memory = bool(self._cgroup and self._cgroup.oom_count())
        except Exception:
            print_exception()
        try:
            if not self._own_pids and self._cgroup:
                self._cgroup.kill()
        except Exception:
            print_exception()
        return Ending(status, out_of_memory)

    def _close(self) -> None:
        """For `delete`: end what was created and did not end, and close what holds the container's file systems."""
        if self._pidfd >= 0:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self.ending()
        if self._null >= 0:
            os.close(self._null)
            self._null = -1


class HostProcess:
    """`corten.instance.contract.Process` for a process that our runtime or another one has begun."""

    def __init__(self, entering: Entering) -> None:
        self.pid = entering.pid
        self.ended = entering.pidfd
        self._channel = entering.channel
        self._console = -1

    @property
    def ready(self) -> int:
        return self._channel.fileno()

    def started(self) -> int | None:
        try:
            word = messages.receive(self._channel)
        except BaseException:
            self._discard()
            raise
        if word is not None and word.kind == messages.CONSOLE:
            self._console = word.fd
            return None
        self._channel.close()
        return self._console

    def _discard(self) -> None:
        self._channel.close()
        os.waitpid(self.pid, 0)
        os.close(self.ended)
        self.ended = -1
        if self._console >= 0:
            os.close(self._console)

    def signal(self, number: int) -> None:
        if self.ended >= 0:
            try:
                signal.pidfd_send_signal(self.ended, number)
            except ProcessLookupError:
                pass  # it has ended, and is not reaped yet

    def reap(self) -> int:
        self.ended, pidfd = -1, self.ended
        return p.reap(pidfd)
