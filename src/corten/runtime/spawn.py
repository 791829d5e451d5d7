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
from collections.abc import Callable, Iterable
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
) -> Spawned:
    """A first process for `plan`, brought to the point where only execve is left. Raises ChildFailed or OSError.

    `hooks` is called with the pid when the namespaces exist and the root has not changed yet.
    """
    ours, theirs = messages.pair()
    init = Init(plan, inheritance(theirs), seccomp)
    with joined(plan.joins, ("pid", "time")):
        pid, pidfd = p.clone3(plan.clone_flags)
    if pid == 0:
        init.run()
    theirs.close()
    console = -1
    try:
        if plan.id_map:
            write_id_map(pid, plan.id_map.uids, plan.id_map.gids)
            messages.send(ours, messages.MAPPED)
        warnings = apply_limits(pid, plan.spec.get("process") or {})
        cgroup.enter(pid)
        if hooks:
            hooks(pid)
        messages.send(ours, messages.ENTERED)
        if inheritance_terminal(init):
            console = messages.expect(ours, messages.CONSOLE).fd
        ready = messages.expect(ours, messages.READY)
    except BaseException as error:
        reason = _reason(ours, error)
        _discard(pid, pidfd, ours, console)
        raise reason from (None if reason is error else error)
    return Spawned(pid, pidfd, ours, console, ready.body["timing"], tuple(warnings))


def inheritance_terminal(init: Init) -> bool:
    return init.inheritance.stdio is None


def start(channel: socket.socket) -> None:
    """Let a ready child execute its program. Raises ChildFailed when execve failed."""
    messages.send(channel, messages.START)
    try:
        message = messages.receive(channel)
    finally:
        channel.close()
    if message is not None:
        raise ChildFailed("start", f"unexpected {message.kind}")


def enter(entry: Entry, cgroup: Cgroup, seccomp: bytes | None) -> Spawned:
    """A further process in a running container; when this returns, its program runs. Raises ChildFailed."""
    ours, theirs = messages.pair()
    child = Enter(entry, theirs, seccomp)
    with joined(((kind, f"/proc/{entry.target}/ns/{kind}") for kind in ("pid",) if kind in entry.namespaces), ("pid",)):
        pid, pidfd = p.clone3(0)
    if pid == 0:
        child.run()
    theirs.close()
    console = -1
    try:
        warnings = apply_limits(pid, entry.process)
        cgroup.enter(pid)
        messages.send(ours, messages.ENTERED)
        if entry.stdio is None:
            console = messages.expect(ours, messages.CONSOLE).fd
        messages.receive(ours)  # end of file: execve has happened; a failure is raised
        ours.close()
    except BaseException as error:
        reason = _reason(ours, error)
        _discard(pid, pidfd, ours, console)
        raise reason from (None if reason is error else error)
    return Spawned(pid, pidfd, ours, console, {}, tuple(warnings))


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


def _discard(pid: int, pidfd: int, channel: socket.socket, console: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.waitpid(pid, 0)
    os.close(pidfd)
    channel.close()
    if console >= 0:
        os.close(console)


class joined:
    """While in this context, children are born in the namespaces of these kinds; this process stays where it is."""

    def __init__(self, joins: Iterable[tuple[str, str]], kinds: tuple[str, ...]) -> None:
        self._joins = [(kind, path) for kind, path in joins if kind in kinds]
        self._own: list[tuple[int, int]] = []

    def __enter__(self) -> None:
        for kind, path in self._joins:
            flag = NAMESPACES[kind]
            own = os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            self._own.append((own, flag))
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                p.setns(fd, flag)
            finally:
                os.close(fd)

    def __exit__(self, *_: object) -> None:
        if not self._own:
            return
        for own, flag in self._own:
            p.setns(own, flag)
            os.close(own)


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
