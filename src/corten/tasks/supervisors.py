"""`Runtime` over supervisors: one for each container, from the launcher or found again after a restart."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from corten.aio.threads import alone
from corten.errors import CortenError, Unavailable
from corten.spec.json import Json
from corten.supervisor import endings, requests, sockets
from corten.tasks import leftovers
from corten.tasks.contract import Bundle, OnEvent, Stream
from corten.tasks.filters import Filters
from corten.tasks.guest_task import GuestTask
from corten.tasks.launcher import Launcher
from corten.tasks.stopped import Stopped
from corten.tasks.task import SupervisedTask, stream_options

log = logging.getLogger(__name__)

_RETRY = 10.0  # seconds
_ENDED = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)  # of a connection: there is no supervisor
_OURS = ("corten", "vm")  # runtimes that filter system calls by a program of ours
_AT_ONCE = 32  # streams beside a request: a frame has 64 descriptors (`wire`), of which guests have some
_SPARE = 2  # supervisors kept ready once one was needed: making one takes 3 ms, a start altogether some 20


class Supervisors:
    """`corten.tasks.contract.Runtime`."""

    def __init__(self, launcher: Launcher, run: Path, on_event: OnEvent = lambda id, kind, attributes: None) -> None:
        self._launcher = launcher
        self._on_event = on_event
        self._run = run  # <exec-root>/containers, with a directory for each task that lives
        self._filters = Filters()
        self._stopped = Stopped()
        self._spare: deque[socket.socket] = deque()
        self._closed = False
        self._unreached: set[SupervisedTask] = set()

    async def create(self, bundle: Bundle, streams: Sequence[Stream] = ()) -> SupervisedTask:
        first, others = streams[:_AT_ONCE], list(streams[_AT_ONCE:])
        try:
            task = await self._create(bundle, first)
            await _attach(task, others)
        finally:
            for stream in others:
                os.close(stream.fd)
        return task

    async def _create(self, bundle: Bundle, streams: Sequence[Stream]) -> SupervisedTask:
        try:
            filter_ = self._filters.descriptor(bundle.path) if bundle.runtime in _OURS else None
            request = {**self._request(bundle, streams), "filter": filter_ is not None}
            optional = [] if filter_ is None else [filter_]
            of_guest: tuple[int, ...] = ()
            if bundle.guest is not None:
                request["guest"] = requests.encode_guest(bundle.guest.guest)
                of_guest = bundle.guest.descriptors
            task = self._entrusted(bundle, request, [*optional, *(s.fd for s in streams), *of_guest])
        finally:
            for stream in streams:
                os.close(stream.fd)
        try:
            await task.created()
        except Unavailable:
            await task.destroy()
            await task.take_away()
            raise
        except CortenError:
            await task.take_away()
            raise
        return task

    def _entrusted(self, bundle: Bundle, request: Json, fds: list[int]) -> SupervisedTask:
        """A task whose supervisor has been given this request."""
        while self._spare:
            task = self._task(bundle, self._spare.popleft(), self._keep_ready)
            try:
                task.entrust(request, fds)
            except (BrokenPipeError, ConnectionResetError):  # it has been killed
                continue
            return task
        task = self._task(bundle, self._launcher.connect({"do": "supervise"}), self._keep_ready)
        task.entrust(request, fds)
        return task

    def _keep_ready(self) -> None:
        """Behind a start: beside it, what it waits for would share the processors with a fork."""
        while len(self._spare) < _SPARE and not self._closed:
            try:
                self._spare.append(self._launcher.connect({"do": "supervise"}))
            except (CortenError, OSError) as error:  # the next container has one made, or says why there is none
                log.warning("cannot keep a supervisor ready: %s", error)
                return

    def _task(
        self, bundle: Bundle, connection: socket.socket | None, behind_start: Callable[[], None] = lambda: None
    ) -> SupervisedTask:
        kind = GuestTask if bundle.runtime == "vm" else SupervisedTask
        return kind(bundle, self._run / bundle.id, connection, self._on_event, behind_start)

    def _request(self, bundle: Bundle, streams: Sequence[Stream]) -> Json:
        log = bundle.log
        return {
            "do": "create",
            "id": bundle.id,
            "bundle": str(bundle.path),
            "spill": str(bundle.spill or bundle.path),
            "run": f"{self._run}/{bundle.id}",
            "rootfs": [mount.entry() for mount in bundle.rootfs],
            "log": {
                "path": str(log.path) if log.path else "",
                "max_size": log.max_size,
                "max_file": log.max_file,
                "attrs": _attrs(log.labels),
                **({"format": log.format} if log.format else {}),
            },
            "terminal": bundle.terminal,
            "open_stdin": bundle.open_stdin,
            "stdin_once": bundle.stdin_once,
            "console_size": list(bundle.console_size),
            "runtime": bundle.runtime,
            "runtime_args": bundle.runtime_args,
            "cgroup": bundle.cgroup,
            "clone_namespaces": bundle.clone_namespaces,
            "emulators": bundle.emulators,
            "userns": bundle.userns,
            "streams": [stream_options(stream) for stream in streams],
        }

    async def adopt(self, bundle: Bundle) -> SupervisedTask | None:
        """One whose supervisor takes no connection is a task as well: what can be done without it is done, and it is
        reached as soon as it can be."""
        task = self._task(bundle, None)
        try:
            task.reach(self._connect(bundle.id))
        except _ENDED:
            return self._ended(bundle)
        except OSError as error:  # it is stopped, and others wait for it; or this process has no descriptor left
            log.warning("container %s: cannot connect to its supervisor: %s", bundle.id, error.strerror)
            self._unreached.add(task)
        await task.adopted()
        return self._ended(bundle) if task.ended else task  # between our connecting and its greeting

    async def end(self, bundle: Path) -> None:
        await alone(partial(leftovers.kill, bundle))  # a group that is being frozen takes its time

    def _ended(self, bundle: Bundle) -> SupervisedTask | None:
        """A task whose supervisor is gone, with the exit that is on disk; None when there is no trace of it."""
        if endings.read_exit(str(bundle.path)) is None and not (self._run / bundle.id).exists():
            return None
        task = self._task(bundle, None)
        task.close()
        return task

    def _connect(self, id: str) -> socket.socket:
        """To the socket of a supervisor. Its errors are those of open(2) and connect(2)."""
        directory = os.open(self._run / id, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.setblocking(False)
                connection.connect(f"/proc/self/fd/{directory}/{sockets.SUPERVISOR}")
            except BaseException:
                connection.close()
                raise
        finally:
            os.close(directory)
        return connection

    def _reach(self) -> None:
        """Try again what `adopt` could not connect to."""
        for task in list(self._unreached):
            try:
                if task.unreached:  # it may have been destroyed
                    task.reach(self._connect(task.id))
            except _ENDED:
                task.close()
            except OSError:
                continue
            self._unreached.discard(task)

    async def try_again(self) -> None:
        """Try again and again what could not be done: to reach supervisors, and to remove control groups with processes
        that the kernel holds, in an uninterruptible system call perhaps. And end helpers that are stopped. Until
        cancelled."""
        while True:
            await asyncio.sleep(_RETRY)
            self._reach()
            said = await alone(partial(leftovers.retry, self._run))
            for text in said + await alone(partial(self._stopped.kill, self._launcher.pid)):
                log.warning("%s", text)

    def close(self) -> None:
        """Close the spare supervisors, which end. Those with a container go on."""
        self._closed = True
        self._filters.close()
        while self._spare:
            self._spare.popleft().close()


async def _attach(task: SupervisedTask, streams: list[Stream]) -> None:
    """Those of `streams` that it takes are removed from it. The others are closed, which is no reason not to start."""
    try:
        while streams:
            await task.attach(streams.pop(0))
    except (CortenError, OSError) as error:
        log.warning("container %s starts without %d clients: %s", task.id, len(streams) + 1, error)


def _attrs(labels: Mapping[str, str]) -> str:
    return json.dumps(dict(labels)) if labels else ""
