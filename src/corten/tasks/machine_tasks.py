"""Whole machines, seen from the daemon: each has a supervisor (`supervisor.machine_owner`), from the launcher or found
again after a restart."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from corten.errors import Conflict, Failed, StartFailed, Unavailable
from corten.spec.dhcp import Lease
from corten.spec.json import Json
from corten.supervisor import endings, machine_requests, sockets, wire
from corten.supervisor.machine_requests import SERVES_LATER, Begin
from corten.tasks import answers, leftovers
from corten.tasks.contract import Exit, Stream
from corten.tasks.launcher import Launcher
from corten.tasks.outgoing import PATIENCE, Outgoing
from corten.tasks.streams import hang_up
from corten.tasks.task import stream_options
from corten.units.durations import in_go

OnEvent = Callable[[str, str, Json], None]  # id, QEMU's name of it, its data

_BEGIN = 120.0  # seconds for QEMU's first word
_GREETING = 5.0
_ANSWER = 60.0  # as `vm.contract.TIMEOUT`: QEMU and a guest's agent may take as long
_QUIET = PATIENCE / 2  # seconds without an answer, after which the supervisor is asked whether it is there
_THERE = PATIENCE / 2  # seconds that it has to say so
_ENDED = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)


class MachineTask:
    """One run of a machine. Its methods raise Conflict when it has ended, Unavailable when nothing is answered."""

    def __init__(self, id: str, directory: Path, connection: socket.socket, on_event: OnEvent) -> None:
        self.id, self._directory, self._on_event = id, directory, on_event
        self.pid, self.agent = 0, False
        self._version = 0  # of what its supervisor can be asked
        self._loop = asyncio.get_running_loop()
        self._first: asyncio.Future[Json] = self._loop.create_future()
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        self._asked: dict[int, asyncio.Future[Json]] = {}
        self._number = 0
        self.events = 0  # of QEMU's, that have come
        self.last: dict[str, float] = {}  # when each came last, in seconds since the epoch
        self._changes: set[asyncio.Future[None]] = set()
        self._decoder = wire.Decoder()
        self._out: Outgoing | None = Outgoing(connection, broken=self.close)
        self._loop.add_reader(connection.fileno(), self._read)

    # --------------------------------------------------------------------------------------------- the connection

    def _read(self) -> None:
        assert self._out is not None
        try:
            more = wire.receive(self._out.socket, self._decoder)
            while frame := self._decoder.next():
                for fd in frame[1]:
                    os.close(fd)
                self._understand(frame[0])
        except BlockingIOError:
            return
        except (OSError, wire.ProtocolError, KeyError, TypeError, ValueError):
            more = False
        if not more:
            self.close()

    def _understand(self, message: Json) -> None:
        match message.get("event"):
            case None:
                asked = self._asked.pop(message["id"], None)
                if asked is not None and not asked.done():
                    asked.set_result(message)
            case "created" | "failed" | "hello":
                self._version = int(message.get("version", 0))
                if "pid" in message:
                    self.pid, self.agent = int(message["pid"]), bool(message.get("agent"))
                if not self._first.done():
                    self._first.set_result(message)
            case "qmp":
                if message["name"] == "VSERPORT_CHANGE" and message["data"].get("id") == "agent":
                    self.agent = bool(message["data"].get("open"))
                self._happened(str(message["name"]), float(message.get("at") or time.time()))
                self._on_event(self.id, str(message["name"]), dict(message["data"]))
            case "exit":
                self._end(_exit_of(message))
            case "detach":
                self._on_event(self.id, "detach", {})

    def _happened(self, name: str, at: float) -> None:
        self.events += 1
        self.last[name] = at
        changes, self._changes = self._changes, set()
        for change in changes:
            if not change.done():
                change.set_result(None)

    async def happens(self, seen: int, seconds: float) -> None:
        """Until QEMU has said more than its first `seen` events (of `events`), and so many seconds at most."""
        if self.events != seen or self._out is None:
            return
        change: asyncio.Future[None] = self._loop.create_future()
        self._changes.add(change)
        try:
            await asyncio.wait([change], timeout=seconds)
        finally:
            self._changes.discard(change)

    def _end(self, exit: Exit) -> None:
        if not self._exit.done():
            self._exit.set_result(exit)

    def close(self) -> None:
        """Its supervisor has ended, or is given up."""
        if self._out is None:
            return
        self._loop.remove_reader(self._out.socket.fileno())
        self._out.close()
        self._out.socket.close()
        self._out = None
        self._decoder.close()
        if not self._first.done():
            self._first.set_result({})
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(Conflict("the machine does not run any more"))
        self._asked.clear()
        self._happened("", 0.0)
        if not self._exit.done():
            self._end(ending(self._directory))

    def leave(self) -> None:
        """At the daemon's end: the machine goes on."""
        self._exit.cancel()
        self.close()

    async def first(self, seconds: float) -> Json:
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self._first)
        except TimeoutError:
            raise Unavailable(f"the supervisor of machine {self.id[:12]} does not answer") from None

    async def _ask(self, do: str, body: Mapping[str, Any], fds: Sequence[int], seconds: float) -> Any:
        number, future = self._sent(do, body, fds)
        try:
            async with asyncio.timeout(seconds):
                if not (await asyncio.wait([future], timeout=_QUIET))[0]:
                    await self._reach()
                return answers.content(await future)
        except TimeoutError:
            raise Unavailable(f"the machine has not answered within {in_go(seconds)}") from None
        finally:
            self._forget(number, future)

    def _sent(self, do: str, body: Mapping[str, Any] = {}, fds: Sequence[int] = ()) -> tuple[int, asyncio.Future[Json]]:
        """The number of a request, and its answer."""
        if self._out is None:
            raise Conflict("the machine does not run any more")
        self._number += 1
        future = self._asked[self._number] = self._loop.create_future()
        try:
            self._out.send({"id": self._number, "do": do, **body}, fds)
        except OSError:
            self._asked.pop(self._number)
            raise Conflict("the machine does not run any more") from None
        return self._number, future

    async def _reach(self) -> None:
        """Until the supervisor says anything at all: an older one that it does not know the request. Unavailable."""
        number, future = self._sent("reach")
        try:
            if not (await asyncio.wait([future], timeout=_THERE))[0]:
                raise Unavailable(f"cannot reach the supervisor of machine {self.id[:12]}")
        finally:
            self._forget(number, future)

    def _forget(self, number: int, future: asyncio.Future[Json]) -> None:
        self._asked.pop(number, None)
        if not future.cancel() and not future.cancelled():
            future.exception()  # the machine's end is every answer's, and said once

    # ------------------------------------------------------------------------------------------------ what it does

    async def ask(self, command: str, fds: Sequence[int] = (), seconds: float = _ANSWER, **arguments: Any) -> Any:
        """A command of QEMU's monitor; what that returns. Failed with QEMU's words. In names of arguments `_` stands
        for the `-` of QEMU's."""
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        return await self._ask("ask", {"command": command, "arguments": given}, fds, seconds)

    async def ask_json(self, command: str, arguments: Json) -> Any:
        """The same with arguments as QEMU has them."""
        return await self._ask("ask", {"command": command, "arguments": arguments}, (), _ANSWER)

    async def ask_agent(self, command: str, seconds: float = _ANSWER, **arguments: Any) -> Any:
        """The same of QEMU's agent in the guest. Conflict when it does not run."""
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        return await self._ask("agent", {"command": command, "arguments": given}, (), seconds)

    async def attach(self, stream: Stream) -> None:
        """A client of the console; takes `stream.fd`."""
        try:
            await self._ask("attach", {"client": stream_options(stream)}, [stream.fd], _ANSWER)
        except Unavailable:
            hang_up(stream.fd)  # a copy is on its way to the supervisor
            raise
        finally:
            os.close(stream.fd)

    async def write_log(self) -> None:
        await self._ask("write log", {}, (), _ANSWER)

    async def serve_names(self, fd: int) -> None:
        """From now on this socket is asked what the machine asks; one that began without names goes on without."""
        await self._ask("names", {}, [fd], _ANSWER)

    async def serve_interface(self, tap: int, lease: Lease | None, names_at: str) -> None:
        """DHCP and names on a tap that is plugged in: `names_at` is the address that is asked for them, or "". Nothing
        by a supervisor of an earlier version."""
        if self._version < SERVES_LATER:
            return
        await self._ask("interface", {"lease": lease and lease._asdict(), "names": names_at}, [tap], _ANSWER)

    async def kill(self, seconds: float = _ANSWER) -> None:
        await self._ask("kill", {}, (), seconds)

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    @property
    def ended(self) -> bool:
        return self._exit.done()


class MachineSupervisors:
    """`run`: <exec-root>/machines, with a directory for each machine that runs."""

    def __init__(self, launcher: Launcher, run: Path, on_event: OnEvent) -> None:
        self._launcher, self.run, self._on_event = launcher, run, on_event

    async def begin(self, request: Begin, fds: Sequence[int]) -> MachineTask:
        """A machine. StartFailed with QEMU's words. The descriptors stay the caller's."""
        connection = self._launcher.connect({"do": "own machine"})
        task = MachineTask(request.id, Path(request.directory), connection, self._on_event)
        said: Json = {}
        try:
            assert task._out is not None
            with suppress(OSError):  # it has ended, and says nothing
                task._out.send(machine_requests.encode(request), fds)
            said = await task.first(_BEGIN)
            if said.get("event") == "failed":
                raise answers.failure(said, StartFailed)
            if not said:
                raise Failed("the machine's supervisor ended without a word; see launcher.log")
        except BaseException:
            task.leave()
            await asyncio.to_thread(leftovers.kill_supervisor, self.run / request.id)
            if not said:  # or it has taken away all of it by itself
                await asyncio.to_thread(self.sweep, request.id, Path(request.directory), request.cgroup)
            raise
        return task

    async def adopt(self, id: str, directory: Path) -> MachineTask | None:
        """The machine that an earlier daemon left running; None when it has ended. Unavailable when its supervisor says
        nothing."""
        try:
            place = os.open(self.run / id, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except _ENDED:
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(f"/proc/self/fd/{place}/{sockets.SUPERVISOR}")
        except _ENDED:
            connection.close()
            return None
        except OSError as error:
            connection.close()
            raise Unavailable(f"cannot reach the supervisor of machine {id[:12]}: {error.strerror}") from None
        finally:
            os.close(place)
        task = MachineTask(id, directory, connection, self._on_event)
        try:
            return task if await task.first(_GREETING) else None
        except BaseException:
            task.leave()
            raise

    async def kill(self, id: str, cgroup: str) -> None:
        """The supervisor, which does not answer, and all that belongs to its machine."""

        def work() -> None:
            leftovers.kill_supervisor(self.run / id)
            leftovers.remove_cgroup(cgroup)

        await asyncio.to_thread(work)

    def lost(self, known: Container[str], cgroup: Callable[[str], str]) -> list[str]:
        """Runs that are none of the machines `known`: what is left of them is taken away, and those that go on are
        left alone. What there was, in words."""
        said = []
        for run in self.run.iterdir() if self.run.is_dir() else ():
            if run.name in known:
                continue
            if leftovers.supervised(run):
                said.append(f"machine {run.name} runs and has no record: left alone")
                continue
            said += [f"machine {run.name}: {what}" for what in leftovers.remove(run, run, cgroup(run.name))]
        return said

    def sweep(self, id: str, directory: Path, cgroup: str) -> list[str]:
        """Take away what is left of a run whose supervisor was killed; what there was, in words."""
        return leftovers.remove(self.run / id, directory, cgroup)


def ending(directory: Path) -> Exit:
    """How the last run ended, by what is on the disk."""
    found = endings.read_exit(str(directory))
    return _exit_of(found) if found else Exit(137, 0.0, error="the machine's supervisor was killed")


def _exit_of(body: Json) -> Exit:
    if not endings.is_ending(body):
        raise ValueError("no ending")
    return Exit(int(body["status"]), float(body["at"]), False, str(body["error"]))
