"""Tasks that are plain processes of this machine (`corten.tasks.contract.Runtime` and `Task`): no namespaces, no root
of their own, no control groups, no root needed.

Real are sockets, streams, logs on disk, exits, signals and terminals. `tests/contract/test_tasks.py` holds them to what
supervisors do. What they cannot do, and a test of the engine must not count on:

- a task has no pid before its start, and users, capabilities and the detach keys mean nothing to it
- `pids` are first processes, its own and those of its execs; `open_tree` has nothing to show, `trees` neither
- `hold` keeps nothing: who waits for its end is answered by the daemon or not at all
- `update` keeps the limits and sets none; `stats` are constants, but for the limit of processes
- `adopt` finds the tasks of this object, not of another process
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from corten.errors import Conflict, NotFound, StartFailed, Unsupported
from corten.instance.contract import NetworkChange
from corten.spec.json import Json
from corten.tasks.contract import Bundle, ExecSpec, Exit, LogFile, OnEvent, Stream, TreeWork
from corten.tasks.host import HostTask
from fakes.program import Program


class FakeTask(HostTask):
    def __init__(self, runtime: FakeRuntime, bundle: Bundle, process: Json, streams: Sequence[Stream]) -> None:
        self.id = bundle.id
        self.bundle = bundle
        self.pid = 0
        self.paused = False
        self.updates: list[Json] = []
        self._execs: dict[str, Program] = {}
        self._inside: set[Program] = set()  # execs that have not ended, those that are being started among them
        self._runtime = runtime
        self.program = Program(
            process,
            streams,
            bundle.log,
            terminal=bundle.terminal,
            stdin=bundle.open_stdin,
            once=bundle.stdin_once,
            on_exit=self._ended,
        )
        if bundle.terminal:
            self.program.resize(*bundle.console_size)

    def _ended(self, exit: Exit) -> None:
        if self.pid:
            self._runtime.exits[self.id] = exit
        for program in self._inside:
            with suppress(NotFound):
                program.signal(signal.SIGKILL)

    def open_namespace(self, kind: str) -> int:
        """As `HostTask` does, which asks for the task's control group first."""
        if not self.pid or self.program.exit.done():
            raise NotFound(f"container {self.id} is not running")
        try:
            return os.open(self.namespace(kind), os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):  # it has ended, and asyncio has not reaped it yet
            raise NotFound(f"container {self.id} is not running") from None

    async def start(self, hold: Mapping[str, int] | None = None) -> Mapping[str, float]:
        await self.program.start()
        self.pid = self.program.pid
        return {"exec": 0.001}

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Around what a task that has ended refuses."""
        if self.program.exit.done():
            raise Conflict(f"container {self.id} is not running")
        try:
            yield
        except NotFound as error:
            raise Conflict(f"container {self.id} is not running") from error

    async def attach(self, stream: Stream) -> None:
        try:
            with self._running():
                self.program.attach(stream)
        except Conflict:
            os.close(stream.fd)
            raise

    def hold(self, key: str, fd: int) -> None:
        return

    def release(self, key: str, answer: bool) -> None:
        return

    async def write_log(self) -> None:
        with self._running():
            for _ in range(3):  # rounds of the loop: pipes are read in the first, and what waits for it goes on
                await asyncio.sleep(0)

    async def reopen_log(self) -> None:
        raise Unsupported("this container's log is not reopened: it is rotated here")

    async def exec(self, spec: ExecSpec, stream: Stream | None) -> int:
        def ended(exit: Exit) -> None:
            self._inside.discard(program)
            if spec.id in self._execs:  # one that was not executed has no end
                self._runtime.on_event(self.id, "exec_exit", {"exec": spec.id, "status": exit.status})

        try:
            with self._running():
                if self.paused:
                    raise Conflict("the container is paused")
                streams = [stream] if stream else []
                program = Program(spec.process, streams, terminal=spec.terminal, stdin=spec.stdin, on_exit=ended)
        except Conflict:
            if stream is not None:
                os.close(stream.fd)
            raise
        if spec.terminal:
            program.resize(*spec.console_size)
        self._inside.add(program)
        try:
            await program.start()
        except BaseException:  # it was cancelled, perhaps
            program.end(Exit(128 + signal.SIGKILL, time.time()))
            raise
        if self.program.exit.done():
            with suppress(NotFound):
                program.signal(signal.SIGKILL)
        self._execs[spec.id] = program
        return program.pid

    def _exec(self, exec_id: str) -> Program:
        if exec_id not in self._execs:
            raise NotFound(f"no such exec: {exec_id}")
        return self._execs[exec_id]

    async def wait_exec(self, exec_id: str) -> Exit:
        """To be asked once: its end is not kept."""
        exit = await asyncio.shield(self._exec(exec_id).exit)
        self._execs.pop(exec_id, None)
        return exit

    async def signal_exec(self, exec_id: str, number: int) -> None:
        self._exec(exec_id).signal(number)

    def execs(self) -> Mapping[str, int]:
        return {id: program.pid for id, program in self._execs.items()}

    async def exec_runs(self, exec_id: str) -> bool:
        program = self._execs.get(exec_id)
        return program is not None and not program.exit.done()

    async def signal(self, number: int, all_processes: bool = False) -> None:
        with self._running():
            self.program.signal(number)

    async def pause(self) -> None:
        with self._running():
            self.program.signal(signal.SIGSTOP)
        self.paused = True

    async def resume(self) -> None:
        with self._running():
            self.program.signal(signal.SIGCONT)
        self.paused = False

    async def resize(self, rows: int, columns: int, exec_id: str | None = None) -> None:
        with self._running():
            (self._exec(exec_id) if exec_id else self.program).resize(rows, columns)

    async def update(self, resources: Json) -> None:
        with self._running():
            self.updates.append(resources)

    async def pids(self) -> Sequence[int]:
        with self._running():
            return [self.pid, *(each.pid for each in self._execs.values() if not each.exit.done())]

    async def stats(self) -> Json:
        with self._running():
            limits = [one["pids"]["limit"] for one in self.updates if "pids" in one]
            return {
                "cpu": {"usage": {"total": 5, "kernel": 2, "user": 3}},
                "memory": {"usage": {"usage": 7}},
                "pids": {"current": 1, **({"limit": limits[-1]} if limits else {})},
            }

    def trees(self) -> TreeWork:
        raise Unsupported("these tasks have no tree of their own")

    async def attach_interface(self, name: str, device: int) -> None:
        raise Unsupported("these tasks are in the host's network")

    async def detach_interface(self, name: str) -> None:
        raise Unsupported("these tasks are in the host's network")

    async def change_network(self, change: NetworkChange, fds: Sequence[int] = ()) -> None:
        raise Unsupported("these tasks are in the host's network")

    async def dial(self, port: int, connection: int) -> None:
        raise Unsupported("these tasks are in the host's network")

    async def wait(self) -> Exit:
        return await asyncio.shield(self.program.exit)

    async def destroy(self) -> None:
        self._end()
        await self.wait()

    def _end(self) -> None:
        if self.pid:
            with suppress(NotFound):
                self.program.signal(signal.SIGKILL)
        else:
            self.program.end(Exit(128 + signal.SIGKILL, time.time()))

    async def delete(self) -> None:
        """One that was created and never started is ended first."""
        if not self.pid:
            self._end()
        await self.wait()
        while self._inside:
            await asyncio.wait({program.exit for program in self._inside})
        self._runtime.tasks.pop(self.id, None)


class FakeRuntime:
    """`tasks` are those that are not deleted; `exits` how started ones ended, which outlives them as on disk."""

    def __init__(self, on_event: OnEvent = lambda id, kind, attributes: None) -> None:
        self.on_event = on_event
        self.tasks: dict[str, FakeTask] = {}
        self.exits: dict[str, Exit] = {}

    async def create(self, bundle: Bundle, streams: Sequence[Stream] = ()) -> FakeTask:
        process = json.loads((bundle.path / "config.json").read_text())["process"]
        try:
            task = FakeTask(self, bundle, process, streams)
        except OSError as error:  # of its log
            for stream in streams:
                os.close(stream.fd)
            raise StartFailed(str(error), 127) from error
        self.exits.pop(bundle.id, None)
        self.tasks[bundle.id] = task
        return task

    async def end(self, bundle: Path) -> None:
        for task in [task for task in self.tasks.values() if task.bundle.path == bundle]:
            await task.destroy()

    async def adopt(self, bundle: Bundle) -> FakeTask | None:
        if bundle.id in self.tasks or bundle.id not in self.exits:
            return self.tasks.get(bundle.id)
        ended = FakeTask(self, replace(bundle, log=LogFile(None), terminal=False), {}, ())
        ended.program.end(self.exits[bundle.id])
        return ended
