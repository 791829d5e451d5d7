"""Further processes in running containers: made, started, waited for, inspected."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from corten.aio.background import Forever
from corten.aio.turns import receive
from corten.engine.configuration import Configuration
from corten.engine.containers.container import Container
from corten.engine.containers.damage import whole
from corten.engine.events import Events
from corten.errors import Conflict, CortenError, Invalid, NotFound, StartFailed
from corten.plan.isolation import facts_for
from corten.plan.process import exec_process
from corten.spec.docker.exec import ExecConfig
from corten.spec.json import Json
from corten.tasks.contract import ExecSpec, Exit, Stream, Task
from corten.units.durations import in_go

log = logging.getLogger(__name__)

KEEP_ENDED = 300.0  # seconds that an ended exec can be inspected, as in Docker
_CATCH_UP = 2.0  # seconds
_ENDING = 1.0  # seconds from when a container cannot be entered any more until it has ended
_CAPTURED = 4096  # bytes


@dataclass(slots=True)
class Exec:
    """One exec, as the create request described it."""

    id: str
    container: Container
    config: ExecConfig
    state: Literal["created", "running", "ended"] = "created"
    pid: int | None = None  # once its program runs; 0 where it has no number on this host
    exit_code: int | None = None
    size: tuple[int, int] | None = None  # rows and columns, the newest that a client sent
    answered: bool = False  # a client has the head of its start's answer, and may send a size
    unwanted: bool = False  # it was killed, which may have been before its program ran
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    ended_at: float = 0.0

    @property
    def tty(self) -> bool:
        return self.config.tty


class Execs:
    def __init__(self, configuration: Configuration, events: Events, watching: Forever) -> None:
        self._configuration = configuration
        self._events = events
        self._watching = watching
        self._all: dict[str, Exec] = {}

    def create(self, container: Container, config: ExecConfig) -> Exec:
        """Invalid without a command, Conflict unless the container runs."""
        command = config.cmd or []
        if not command:
            raise Invalid("No exec command specified")
        check_running(container, "exec")
        self._forget_old()
        exec = Exec(secrets.token_hex(32), container, config)
        self._all[exec.id] = exec
        container.execs.add(exec.id)
        self._publish(exec, "exec_create: " + " ".join(command))
        return exec

    def adopt(self, container: Container) -> None:
        """Those that an earlier daemon started in a container that has been adopted. What they were asked to be is not
        known any more; how they end is."""
        if container.task is None:
            return
        for id, pid in container.task.execs().items():
            if id in self._all:
                continue
            self._all[id] = exec = Exec(id, container, ExecConfig(), state="running", pid=pid)
            container.execs.add(id)
            self._watching.spawn(self._watch(exec), f"the watch on exec {id}")

    def get(self, id: str) -> Exec:
        """By id or the start of one. NotFound; also when its container has gone."""
        found = self._all.get(id) or next((e for key, e in self._all.items() if id and key.startswith(id)), None)
        if found is None or found.container.gone:
            raise NotFound(f"No such exec instance: {id}")
        return found

    def check_startable(self, exec: Exec) -> None:
        """Conflict when it ran already, or its container does not run or is paused."""
        if exec.state == "running":
            raise Conflict(f"exec {exec.id} is already running")
        if exec.state == "ended":
            raise Conflict(f"exec command {exec.id} has already run")
        check_running(exec.container, "exec")

    async def start(self, exec: Exec, stream: Stream | None, console_size: tuple[int, int] = (0, 0)) -> None:
        """Start it; `stream` is served by the supervisor from then on, and taken in every case. StartFailed leaves the
        exit code in the exec, Conflict says that the container does not run."""
        async with AsyncExitStack() as held:
            if stream is not None:
                held.callback(os.close, stream.fd)
            self.check_startable(exec)
            exec.state = "running"
            task = exec.container.task
            assert task is not None, "check_startable saw it running"
            try:
                spec = ExecSpec(exec.id, self._process(exec), exec.tty, _wants_stdin(exec), console_size)
                held.pop_all()  # the task's from now on
                exec.pid = await task.exec(spec, stream)
            except BaseException as error:
                self._end(exec, 127 if isinstance(error, StartFailed) and error.exit_code == 127 else 126)
                if await _ends(task, error):
                    raise Conflict(f"container {exec.container.id} is not running") from error
                raise
        if exec.unwanted:
            await _kill(exec)
        if exec.size:
            self._watching.spawn(_first_size(exec, task), f"the first size of exec {exec.id}")
        self._publish(exec, "exec_start: " + " ".join(exec.config.cmd or ()))
        self._watching.spawn(self._watch(exec), f"the watch on exec {exec.id}")

    def _process(self, exec: Exec) -> Json:
        container = exec.container
        with whole(container):
            spec = msgspec.json.decode((container.bundle / "config.json").read_bytes())
        record = container.record
        facts = facts_for(record.host_config, self._configuration.facts)
        return exec_process(exec.config, record.config, record.host_config, spec, facts)

    async def _watch(self, exec: Exec) -> None:
        task = exec.container.task
        exit = Exit(137, time.time(), error="its container ended")
        if task is not None:
            try:
                exit = await task.wait_exec(exec.id)
            except CortenError as error:
                exit = Exit(137, time.time(), error=str(error))
        self._end(exec, exit.status)
        self._publish(exec, "exec_die", exitCode=str(exit.status))

    def _end(self, exec: Exec, status: int) -> None:
        exec.state, exec.exit_code, exec.ended_at = "ended", status, time.monotonic()
        exec.ended.set()

    async def kill(self, exec: Exec) -> None:
        """SIGKILL to its process, as soon as it runs; nothing when it has ended."""
        exec.unwanted = True
        await _kill(exec)

    async def capture(self, container: Container, config: ExecConfig, seconds: float) -> tuple[int, str]:
        """Run to the end and give exit code and the first output; past `seconds` it is killed and the code is -1."""
        exec = self.create(container, config)
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            await self.start(exec, Stream(theirs.detach(), stdin=False))
            try:
                async with asyncio.timeout(seconds):
                    output = await _read_all(ours)
                    await exec.ended.wait()
            except TimeoutError:
                await _kill(exec)
                return -1, f"Health check exceeded timeout ({in_go(seconds)})"
        return exec.exit_code or 0, output.decode(errors="replace")

    async def resize(self, exec: Exec, rows: int, columns: int) -> None:
        """Conflict before its start and after its end.

        Clients send the size while it starts, as soon as they have an answer, and listen for changes only then.
        """
        task = exec.container.task
        starting = exec.state == "created" and exec.answered
        if not (starting or exec.state == "running") or task is None:
            raise Conflict(f"exec {exec.id} is not running")
        exec.size = (rows, columns)
        if exec.pid is not None:
            await task.resize(rows, columns, exec.id)
        self._publish(exec, "resize", height=str(rows), width=str(columns))

    async def inspect(self, exec: Exec) -> Json:
        """Docker's shape. The client's stream can end before its supervisor says so: then we wait for that."""
        task = exec.container.task
        runs = exec.state != "running" or exec.pid is None or (task is not None and await task.exec_runs(exec.id))
        if not runs:
            try:
                async with asyncio.timeout(_CATCH_UP):
                    await exec.ended.wait()
            except TimeoutError:
                pass  # the answer then says "running", which is what we know
        return _shown(exec)

    def running_in(self, container: Container) -> list[str]:
        """Ids of the execs of a container that run, for its inspect."""
        return [id for id in sorted(container.execs) if (e := self._all.get(id)) and e.state == "running"]

    def _publish(self, exec: Exec, action: str, **more: str) -> None:
        attributes = exec.container.attributes(execID=exec.id, **more)
        self._events.publish("container", action, exec.container.id, attributes)

    def _forget_old(self) -> None:
        """Ended a while ago, or of a container that is gone or ended."""
        limit = time.monotonic() - KEEP_ENDED
        for id, exec in list(self._all.items()):
            stale = exec.state == "ended" and exec.ended_at < limit
            if exec.container.gone or stale:
                del self._all[id]
                exec.container.execs.discard(id)


def check_running(container: Container, purpose: str) -> None:
    """Conflict, in Docker's words, unless the container runs and is not paused."""
    status = container.status
    if status == "paused":
        raise Conflict(f"container {container.record.name} is paused, unpause the container before {purpose}")
    if status == "restarting":
        raise Conflict(f"container {container.id} is restarting, wait until the container is running")
    if status != "running" or container.task is None:
        raise Conflict(f"container {container.id} is not running")


async def _ends(task: Task, error: BaseException) -> bool:
    """Whether a process could not be started because the container ends: what is in its way of being taken down is no
    reason for a client. What the program itself is to blame for is one."""
    program = isinstance(error, StartFailed) and error.exit_code in (126, 127)
    if program or not isinstance(error, StartFailed | NotFound):
        return False
    with suppress(TimeoutError):
        async with asyncio.timeout(_ENDING):
            await task.wait()
            return True
    return False


async def _first_size(exec: Exec, task: Task) -> None:
    """The newest that was sent while it started; a later one may have come by now."""
    assert exec.size is not None
    try:
        await task.resize(*exec.size, exec.id)
    except CortenError as error:  # it has ended meanwhile
        log.debug("exec %s: %s", exec.id, error)


async def _kill(exec: Exec) -> None:
    if exec.state != "running" or exec.pid is None or (task := exec.container.task) is None:
        return
    try:
        await task.signal_exec(exec.id, signal.SIGKILL)
    except CortenError as error:  # it has ended meanwhile, or its container
        log.debug("exec %s: %s", exec.id, error)


async def _read_all(sock: socket.socket) -> bytes:
    """Up to the end; only the first bytes are kept."""
    kept = b""
    while data := await receive(sock, 65536):
        kept = (kept + data)[:_CAPTURED]
    return kept


def _wants_stdin(exec: Exec) -> bool:
    return exec.config.attach_stdin


def _shown(exec: Exec) -> Json:
    config = exec.config
    command = config.cmd or [""]
    process: Json = {"tty": exec.tty, "entrypoint": command[0], "arguments": command[1:]}
    process["privileged"] = config.privileged
    if config.user:
        process["user"] = config.user
    return {
        "ID": exec.id,
        "Running": exec.state == "running",
        "ExitCode": exec.exit_code,
        "ProcessConfig": process,
        "OpenStdin": _wants_stdin(exec),
        "OpenStderr": config.attach_stderr,
        "OpenStdout": config.attach_stdout,
        "CanRemove": exec.state == "ended",
        "ContainerID": exec.container.id,
        "DetachKeys": config.detach_keys,
        "Pid": exec.pid or 0,
    }
