"""The parent's side of a start: clone3, id maps, limits, cgroup, and the conversation with the child.

Called by a supervisor and by the OCI command line, always from a process with one thread. Everything here blocks for
as long as the child's steps take: milliseconds, or however long the kernel needs for a mount.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from corten.kernel import process as p
from corten.runtime import messages
from corten.runtime.cgroups import Cgroup
from corten.runtime.enter import Enter, Entry
from corten.runtime.init import Inheritance, Init, fail
from corten.runtime.limits import make_room, set_oom_score
from corten.runtime.messages import ChildFailed
from corten.runtime.plan import NAMESPACES, Plan


class Spawned(NamedTuple):
    """A child that is ready, or running. The caller owns pid, pidfd, channel, console (-1: no terminal) and null."""

    pid: int
    pidfd: int
    channel: socket.socket
    console: int
    null: int  # the container's null device, for further processes
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
    cloned here is a child of this process's parent, which has to collect them: their pids are appended.
    """
    ours, theirs = messages.pair()
    init = Init(plan, inheritance(theirs), cgroup, seccomp)
    namespaces = init.inheritance.prepared.namespaces
    with joined(namespaces):
        pid, pidfd = _clone(plan.clone_flags, namespaces.get("user", -1), cgroup.fd or 0, siblings)
        if pid == 0:
            init.run()  # never returns
    theirs.close()
    try:
        if plan.id_map:
            write_id_map(pid, plan.id_map.uids, plan.id_map.gids)
            messages.send(ours, messages.MAPPED)
        process = plan.spec.get("process") or {}
        warnings = set_oom_score(pid, process)
        if plan.userns:
            make_room(pid, process)
        if hooks:
            hooks(pid)
        messages.send(ours, messages.HOOKED)
        console, null, ready = until_ready(ours, pid, init.inheritance.stdio is None)
    except BaseException as error:
        reason = _reason(ours, error)
        _discard(pid, pidfd, ours, siblings)
        raise reason from (None if reason is error else error)
    return Spawned(pid, pidfd, ours, console, null, ready["timing"], (*warnings, *ready["warnings"]))


def become(plan: Plan, inheritance: Inheritance, cgroup: Cgroup, seccomp: bytes | None) -> NoReturn:
    """Be the first process of `plan`, instead of having one made. What it has to say goes to `inheritance.channel`.

    The caller has been cloned into the namespaces that cannot be joined later, and into the v2 control group.
    """
    made = plan.clone_flags & ~(p.CLONE_NEWPID | p.CLONE_NEWTIME)
    try:
        if made:
            p.unshare(made)
    except OSError as error:
        fail(inheritance.channel, "namespaces", error)
    Init(plan, inheritance, cgroup, seccomp).run()


def until_ready(channel: socket.socket, pid: int, terminal: bool) -> tuple[int, int, dict[str, Any]]:
    """Wait for the first process `pid`: its terminal's master (-1 without), its null device, and what Ready says.

    The null device is opened here, where it is that process's. The process could not send it: it has its user's rights
    and limits by then, and a low limit of open files holds for all of the user's descriptors that are on their way
    (ETOOMANYREFS, sendmsg(2)). Raises ChildFailed.
    """
    console = messages.expect(channel, messages.CONSOLE).fd if terminal else -1
    try:
        ready = messages.expect(channel, messages.READY).body
        return console, os.open(f"/proc/{pid}/fd/{ready['null']}", os.O_RDWR | os.O_CLOEXEC), ready
    except BaseException:
        if console >= 0:
            os.close(console)
        raise


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


def enter(entry: Callable[[], Entry], target: int, cgroup: Cgroup, seccomp: Callable[[], bytes | None]) -> Entering:
    """Begin a further process beside `target`; what it says next comes by `channel` and is not waited for.

    Console may come (with a terminal), then the end of file: its program runs. Or Failed, raised as ChildFailed.
    `entry` and `seccomp` are called in the child: the caller may live long, and need not have read what they read.
    """
    ours, theirs = messages.pair()
    pid, pidfd, inside = _clone_into(cgroup)
    if pid == 0:
        _enter(entry, theirs, cgroup, seccomp)
    theirs.close()
    try:
        if not inside:
            cgroup.enter(pid, beside=target)
        messages.send(ours, messages.ENTERED)
        word = messages.expect(ours, messages.FORKED)
    except BaseException as error:
        reason = _reason(ours, error)
        _discard(pid, pidfd, ours, None)
        raise reason from (None if reason is error else error)
    os.close(pidfd)
    os.waitpid(pid, 0)
    return Entering(_pid_of(word.fd), word.fd, ours, tuple(word.body["warnings"]))


def _enter(
    entry: Callable[[], Entry], channel: socket.socket, cgroup: Cgroup, seccomp: Callable[[], bytes | None]
) -> NoReturn:
    try:
        child = Enter(entry(), channel, cgroup, seccomp())
    except BaseException as error:  # everything becomes a message: no caller is above to handle it
        fail(channel, "specification", error)
    child.run()


def _clone_into(cgroup: Cgroup) -> tuple[int, int, bool]:
    """(pid, pidfd, whether the v2 group is entered). A v2 group with groups of its own takes no process (EBUSY)."""
    try:
        return *p.clone3(0, cgroup.fd or 0), True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EOPNOTSUPP):
            raise
    return *p.clone3(0), False


def _clone_one(flags: int, cgroup: int, siblings: list[int] | None) -> tuple[int, int]:
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


def _discard(pid: int, pidfd: int, channel: socket.socket, siblings: list[int] | None) -> None:
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if siblings is None:
        os.waitpid(pid, 0)
    else:
        select.select((pidfd,), (), ())  # what removes its control group next has to find it ended
    os.close(pidfd)
    channel.close()


class joined:
    """While in this context, children are cloned into these namespaces; this process itself stays where it is."""

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

    New namespaces belong to the user namespace of the process that makes them, and this process cannot leave its own
    and come back. So a go-between joins it, makes the child as this process's (CLONE_PARENT), and ends.
    """
    if userns < 0:
        return _clone_one(flags, cgroup, siblings)
    ours, theirs = socket.socketpair()
    between, between_fd = _clone_one(0, 0, siblings)
    if between == 0:
        try:
            p.setns(userns, p.CLONE_NEWUSER)
            pid, pidfd = p.clone3(flags | p.CLONE_PARENT, cgroup)
            if pid == 0:
                return 0, -1
            socket.send_fds(theirs, [b"."], [pidfd])
        except OSError as error:
            theirs.send(f"{error.errno} {error.strerror}".encode())
        except BaseException as error:
            theirs.send(f"0 {error!r}".encode())
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
