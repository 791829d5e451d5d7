"""What is done in processes that are cloned for a container, so that its supervisor stays small.

Reading a specification and turning it into mounts and system calls takes a megabyte or two of Python objects, needed
for some milliseconds; a supervisor lives for months. So it is read by the process that then becomes the container's
first (`become`) or a further one (`entry`). Where the first one cannot be cloned before it is read, that is done by a
helper (`create`, `in_child`): a process whose children are the supervisor's own (CLONE_PARENT); it answers with
descriptors, and its memory goes with it.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from corten.error_codec import decode, encode
from corten.errors import Failed
from corten.instance.contract import ChildStdio, Execution, Size
from corten.runtime import cgroups, messages, mountplan, spawn
from corten.runtime.enter import Entry, foreign_namespaces
from corten.runtime.init import Inheritance
from corten.runtime.plan import Plan, plan
from corten.runtime.prepare import CgroupMount, Prepared, prepare
from corten.runtime.program import with_group_names
from corten.supervisor import failures, place, wire
from corten.supervisor.requests import Create

Json = dict[str, Any]
Answer = tuple[Json, list[int]]

_MAX_FILTER = 4096 * 8  # bytes; the kernel takes 4,096 instructions

NOTHING: Answer = ({"pid": 0}, [])  # what `in_child` answers for work without a result

_ended: list[int] = []


def collect() -> None:
    """Wait for the processes of `in_child` that have answered."""
    while _ended:
        os.waitpid(_ended.pop(), 0)


def in_child(work: Callable[[list[int]], Answer]) -> Answer:
    """What `work` answers, with copies of its descriptors, done in a process of its own.

    `work` appends the pid of every process that it clones. Those that do not live on are collected here: all of them
    when it fails, and what the answer lists as "strays". The process itself is left to `collect`: its memory takes a
    millisecond to go, and the answer is waited for. Raises what `work` raised.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _answer(theirs, work)
    theirs.close()
    body, fds = answer_of(ours)
    _ended.append(pid)
    for stray in body["strays"]:
        os.waitpid(stray, 0)
    if "error" in body:
        raise decode(body["error"])
    return body, fds


def answer_of(process: socket.socket) -> Answer:
    """What the process at the other end says first; closes the socket."""
    with process:
        for frame in wire.frames(process):
            return frame
    return {"error": encode(Failed("the process that makes the container was killed")), "strays": []}, []


def _answer(reply: socket.socket, work: Callable[[list[int]], Answer]) -> NoReturn:
    cloned: list[int] = []
    try:
        body, fds = work(cloned)
        wire.send(reply, {**body, "strays": [pid for pid in cloned if pid != body["pid"]]}, fds)
    except BaseException as error:  # this process must not go on from here as if it were the supervisor
        if not isinstance(error, failures.EXPECTED):
            failures.print_exception()
        wire.send(reply, {"error": encode(error), "strays": cloned})
    finally:
        os._exit(0)


class Inputs(NamedTuple):
    """What a first process gets from its supervisor beside the request."""

    filter_fd: int  # the compiled system call filter, -1 for none
    stdio: ChildStdio
    size: Size
    unified: int | None = None  # the v2 control group, which the process has been cloned into
    supervisor: int = 0  # its pid in the host's numbering


Become = Callable[[Create, Inputs, socket.socket], NoReturn]


def become(request: Create, inputs: Inputs, reply: socket.socket) -> NoReturn:
    """In a process cloned for it: be the container's first process.

    As soon as there is something to wait for, the supervisor gets [channel, listener, out of memory or none].
    """
    ours, theirs = messages.pair()
    try:
        timing: dict[str, float] = {}
        place.prepare(request.run, request.bundle)
        listener = place.settle(request.run, int(os.readlink("/proc/self")), inputs.supervisor)
        plan_, group, prepared = _prepare(request, inputs.unified, timing)
        seccomp = filter_of(inputs.filter_fd)
        oom = group.oom_fd()
        body = {"own_pids": _own_pids(plan_.spec), "timing": timing, "warnings": group.warnings,
                "oom": oom is not None}  # fmt: skip
        wire.send(reply, body, [ours.fileno(), listener.fileno(), *(() if oom is None else (oom,))])
    except failures.EXPECTED as error:
        wire.send(reply, {"error": encode(error)})
        os._exit(1)
    inheritance = Inheritance(
        theirs, inputs.stdio, prepared, console_size=inputs.size, parent_death_signal=True, parent_has_work=False
    )
    spawn.become(plan_, inheritance, group, seccomp)


def create(request: Create, filter_fd: int, stdio: ChildStdio, size: Size, cloned: list[int]) -> Answer:
    """A container, ready but for execve: [pidfd, channel, listener, null, terminal's master or none, oom or none].

    Undoes what it did when it fails.
    """
    timing: dict[str, float] = {}
    supervisor = os.getppid()
    place.prepare(request.run, request.bundle)
    plan_, group, prepared = _prepare(request, None, timing)
    try:
        with timed(timing, "init"):
            child = spawn.spawn(
                plan_,
                lambda channel: Inheritance(channel, stdio, prepared, console_size=size, parent_death_signal=True),
                group,
                filter_of(filter_fd),
                siblings=cloned,
            )
        oom = group.oom_fd()
        listener = place.settle(request.run, child.pid, supervisor)
    except BaseException:
        group.kill()
        group.remove()
        raise
    timing.update({f"init.{step}": seconds for step, seconds in child.timing.items()})
    body = {
        "pid": child.pid,
        "cgroup": group.path,
        "own_pids": _own_pids(plan_.spec),
        "timing": timing,
        "warnings": [*group.warnings, *child.warnings],
        "console": child.console >= 0,
        "oom": oom is not None,
    }
    optional = [fd for fd in (child.console, -1 if oom is None else oom) if fd >= 0]
    return body, [child.pidfd, child.channel.detach(), listener.detach(), child.null, *optional]


def _prepare(request: Create, unified: int | None, timing: dict[str, float]) -> tuple[Plan, cgroups.Cgroup, Prepared]:
    """All that comes before there are namespaces. Nothing is left when it fails, `unified` excepted."""
    with timed(timing, "plan"):
        spec = _read(request)
        plan_ = plan(spec, _root(request, spec))
    with timed(timing, "cgroup"):
        linux = spec.get("linux") or {}
        path = linux.get("cgroupsPath") or f"/corten/{request.id}"
        group = cgroups.create(cgroups.here(), path, linux.get("resources") or {}, unified=unified)
    try:
        with timed(timing, "mounts on the host side"):
            return plan_, group, prepare(plan_, tuple(CgroupMount(*mount) for mount in group.mounts()))
    except BaseException:
        if unified is None:  # otherwise the supervisor does that
            group.kill()
            group.remove()
        raise


def _own_pids(spec: Json) -> bool:
    namespaces = (spec.get("linux") or {}).get("namespaces") or ()
    return any(namespace["type"] == "pid" and not namespace.get("path") for namespace in namespaces)


def entry(request: Create, execution: Execution, stdio: ChildStdio, target: int, target_fd: int, null: int) -> Entry:
    """What a further process has to be given."""
    process = execution.process
    if "groupNames" not in process:  # an older daemon leaves that to its supervisors
        process = with_group_names(process, _read(request))
    return Entry(process, target, target_fd, foreign_namespaces(target), stdio, null, execution.size)


def _read(request: Create) -> Json:
    with open(os.path.join(request.bundle, "config.json"), "rb", buffering=0) as file:
        spec: Json = json.load(file)
    spec["process"] = with_group_names(spec["process"], spec)
    return spec


def _root(request: Create, spec: Json) -> tuple[mountplan.MountPlan, ...]:
    if request.rootfs:
        return tuple(mountplan.parse(entry) for entry in request.rootfs)
    path = os.path.join(request.bundle, (spec.get("root") or {}).get("path") or "rootfs")
    return (mountplan.parse({"destination": "/", "source": path, "options": ["rbind", "rslave"]}),)


def filter_of(fd: int) -> bytes | None:
    return os.pread(fd, _MAX_FILTER, 0) if fd >= 0 else None


class timed:
    """Adds the seconds spent in the context to `timing[name]`."""

    def __init__(self, timing: dict[str, float], name: str) -> None:
        self._timing, self._name, self._begin = timing, name, 0.0

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._timing[self._name] = self._timing.get(self._name, 0.0) + time.perf_counter() - self._begin
