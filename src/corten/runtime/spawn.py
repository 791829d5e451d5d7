"""The parent's side of a start: clone3, id maps, limits, cgroup, and the conversation with the child.

Called by a supervisor and by the OCI command line, always from a process with one thread. Everything here blocks for
as long as the child's steps take: milliseconds, or however long the kernel needs for a mount.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from corten.kernel import process as p
from corten.runtime import messages
from corten.runtime.cgroups import Cgroup
from corten.runtime.enter import Enter, Entry
from corten.runtime.init import Inheritance, Init
from corten.runtime.messages import ChildFailed
from corten.runtime.plan import NAMESPACES, Plan


class Spawned(NamedTuple):
    """A child that is ready, or running. The caller owns pid, pidfd, channel and console (-1: no terminal)."""

    pid: int
    pidfd: int
    channel: socket.socket
    console: int
    timing: dict[str, float]
    warnings: tuple[str, ...]


def spawn(
    plan: Plan,
    inheritance: Callable[[socket.socket], Inheritance],
    cgroup: Cgroup,
    seccomp: bytes | None,
    hooks: Callable[[int], None] | None = None,
    siblings: list[int] | None = None,
) -> Spawned:
    """A first process for `plan`, brought to the point where only execve is left. Raises ChildFailed or OSError.

    `hooks` is called with the pid when the namespaces exist and the root has not changed yet. With `siblings`, who is
    born here is a child of this process's parent, which has to collect them: their pids are appended.
    """
    ours, theirs = messages.pair()
    init = Init(plan, inheritance(theirs), cgroup, seccomp)
    namespaces = init.inheritance.prepared.namespaces
    with joined(namespaces):
        pid, pidfd = _clone(plan.clone_flags, namespaces.get("user", -1), cgroup.fd or 0, siblings)
        if pid == 0:
            init.run()  # never returns
    theirs.close()
    console = -1
    try:
        if plan.id_map:
            write_id_map(pid, plan.id_map.uids, plan.id_map.gids)
            messages.send(ours, messages.MAPPED)
        warnings = apply_limits(pid, plan.spec.get("process") or {})
        if hooks:
            hooks(pid)
        messages.send(ours, messages.LIMITED)
        if init.inheritance.stdio is None:
            console = messages.expect(ours, messages.CONSOLE).fd
        ready = messages.expect(ours, messages.READY)
    except BaseException as error:
        reason = _reason(ours, error)
        _discard(pid, pidfd, ours, console, siblings)
        raise reason from (None if reason is error else error)
    return Spawned(pid, pidfd, ours, console, ready.body["timing"], tuple(warnings))


def start(channel: socket.socket) -> None:
    """Let a ready child execute its program. Raises ChildFailed when execve failed."""
    messages.send(channel, messages.START)
    try:
        message = messages.receive(channel)
    finally:
        channel.close()
    if message is not None:
        raise ChildFailed("start", f"unexpected {message.kind}")


class Entering(NamedTuple):
    """A further process on its way into a container. The caller owns all three."""

    pid: int
    pidfd: int
    channel: socket.socket
    warnings: tuple[str, ...]


def enter(entry: Entry, cgroup: Cgroup, seccomp: bytes | None, siblings: list[int] | None = None) -> Entering:
    """Begin a further process in a running container; what it says next comes by `channel` and is not waited for.

    Console may come (with a terminal), then the end of file: its program runs. Or Failed, raised as ChildFailed.
    """
    ours, theirs = messages.pair()
    pid, pidfd, inside = _clone_into(cgroup, siblings)
    if pid == 0:
        Enter(entry, theirs, cgroup, inside, seccomp).run()  # never returns
    theirs.close()
    try:
        warnings = apply_limits(pid, entry.process)
        if not inside:
            cgroup.enter(pid, beside=entry.target)
        messages.send(ours, messages.LIMITED)
        born = messages.expect(ours, messages.BORN).fd
    except BaseException as error:
        reason = _reason(ours, error)
        _discard(pid, pidfd, ours, -1, siblings)
        raise reason from (None if reason is error else error)
    os.close(pidfd)
    if siblings is None:
        os.waitpid(pid, 0)
        return Entering(_pid_of(born), born, ours, tuple(warnings))
    siblings.append(_pid_of(born))
    return Entering(siblings[-1], born, ours, tuple(warnings))


def _clone_into(cgroup: Cgroup, siblings: list[int] | None) -> tuple[int, int, bool]:
    """(pid, pidfd, whether the v2 group is entered). A v2 group with groups of its own takes no process (EBUSY)."""
    try:
        return *_born(0, cgroup.fd or 0, siblings), True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EOPNOTSUPP):
            raise
    return *_born(0, 0, siblings), False


def _born(flags: int, cgroup: int, siblings: list[int] | None) -> tuple[int, int]:
    """clone3; the child is ours, or with `siblings` our parent's."""
    if siblings is None:
        return p.clone3(flags, cgroup)
    pid, pidfd = p.clone3(flags | p.CLONE_PARENT, cgroup)
    if pid:
        siblings.append(pid)
    return pid, pidfd


def _reason(channel: socket.socket, error: BaseException) -> BaseException:
    """What the child said, where it said something: a broken pipe on our side is only the consequence."""
    if isinstance(error, ChildFailed) or not isinstance(error, OSError):
        return error
    try:
        channel.setblocking(False)
        while messages.receive(channel) is not None:
            pass
    except ChildFailed as said:
        return said
    except OSError:
        pass
    return error


def _discard(pid: int, pidfd: int, channel: socket.socket, console: int, siblings: list[int] | None) -> None:
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if siblings is None:
        os.waitpid(pid, 0)
    os.close(pidfd)
    channel.close()
    if console >= 0:
        os.close(console)


class joined:
    """While in this context, children are born in these namespaces; this process itself stays where it is."""

    def __init__(self, namespaces: dict[str, int]) -> None:
        self._joins = [(kind, fd) for kind, fd in namespaces.items() if kind in ("pid", "time")]
        self._own: list[tuple[int, int]] = []

    def __enter__(self) -> None:
        for kind, fd in self._joins:
            own = os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            self._own.append((own, NAMESPACES[kind]))
            p.setns(fd, NAMESPACES[kind])

    def __exit__(self, *_: object) -> None:
        for own, flag in self._own:
            p.setns(own, flag)
            os.close(own)


def _clone(flags: int, userns: int, cgroup: int, siblings: list[int] | None) -> tuple[int, int]:
    """clone3, by way of the user namespace `userns` when there is one.

    New namespaces belong to the user namespace of whoever makes them, and this process cannot leave its own and come
    back. So a go-between joins it, makes the child as this process's (CLONE_PARENT), and ends.
    """
    if userns < 0:
        return _born(flags, cgroup, siblings)
    ours, theirs = socket.socketpair()
    between, between_fd = _born(0, 0, siblings)
    if between == 0:
        try:
            p.setns(userns, p.CLONE_NEWUSER)
            pid, pidfd = p.clone3(flags | p.CLONE_PARENT, cgroup)
            if pid == 0:
                return 0, -1
            socket.send_fds(theirs, [b"."], [pidfd])
        except OSError as error:
            theirs.send(f"{error.errno} {error.strerror}".encode())
        os._exit(0)
    theirs.close()
    if siblings is None:
        os.waitpid(between, 0)
    os.close(between_fd)
    answer, fds, _, _ = socket.recv_fds(ours, 4096, 1)
    ours.close()
    if not fds:
        number, _, text = answer.decode().partition(" ")
        raise OSError(int(number or 0), f"cannot make a process in the user namespace: {text}")
    pid = _pid_of(fds[0])
    if siblings is not None:
        siblings.append(pid)
    return pid, fds[0]


def _pid_of(pidfd: int) -> int:
    """The process's number here, whatever it is where it was made (proc(5), fdinfo)."""
    with open(f"/proc/self/fdinfo/{pidfd}") as info:
        return next(int(line.split()[1]) for line in info if line.startswith("Pid:"))


def write_id_map(pid: int, uids: str, gids: str) -> None:
    for name, content in (("uid_map", uids), ("gid_map", gids)):
        fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, content.encode())  # the kernel takes a map in one write only
        finally:
            os.close(fd)


def apply_limits(pid: int, process: dict[str, Any]) -> list[str]:
    """rlimits and oom_score_adj, set from outside: inside a user namespace they could not be raised.

    What this machine does not allow (no CAP_SYS_RESOURCE) is returned as a warning, and the limit stays as high as it
    may be.
    """
    warnings = []
    for limit in process.get("rlimits") or ():
        number = getattr(resource, limit["type"], None)
        if number is None:
            raise ChildFailed("limits", f"unknown rlimit {limit['type']!r}")
        soft, hard = _rlimit(limit["soft"]), _rlimit(limit["hard"])
        try:
            resource.prlimit(pid, number, (soft, hard))
        except (PermissionError, ValueError):
            _, most = resource.prlimit(pid, number)
            resource.prlimit(pid, number, (_lower(soft, most), _lower(hard, most)))
            warnings.append(f"{limit['type']} could not be raised to {limit['hard']}: no CAP_SYS_RESOURCE")
    adjust = process.get("oomScoreAdj")
    if adjust:
        try:
            with open(f"/proc/{pid}/oom_score_adj", "w") as file:
                file.write(str(adjust))
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM):
                raise
            warnings.append(f"oom_score_adj could not be set to {adjust}: no CAP_SYS_RESOURCE")
    return warnings


def _rlimit(value: int) -> int:
    """RLIM_INFINITY, which JSON carries as 2^64 - 1, is -1 here."""
    return resource.RLIM_INFINITY if value < 0 or value >= 2**63 - 1 else value


def _lower(wanted: int, most: int) -> int:
    if most == resource.RLIM_INFINITY:
        return wanted
    return most if wanted == resource.RLIM_INFINITY else min(wanted, most)
