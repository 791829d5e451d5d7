"""`Task` over a connection to the supervisor, from its creation on or from a restarted daemon."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from corten.aio.threads import alone
from corten.errors import Conflict, Failed, NotFound, StartFailed, Unavailable, Unsupported
from corten.instance.contract import NetworkChange
from corten.spec.json import Json
from corten.supervisor import endings, requests, wire
from corten.tasks import answers, leftovers
from corten.tasks.contract import Bundle, ExecSpec, Exit, OnEvent, Stream
from corten.tasks.host import HostTask, runs, send_signal
from corten.tasks.outgoing import PATIENCE, Outgoing
from corten.tasks.streams import hang_up
from corten.tasks.trees import Trees

log = logging.getLogger(__name__)

_GREETING = 3.0  # seconds that a supervisor gets to say who it is
_MALFORMED = (KeyError, TypeError, ValueError, OverflowError, AttributeError)  # what reading such a frame raises
_LONG = ("create", "start", "exec")  # what waits for another program: mounts, hooks, another runtime
_OF_GUESTS = ("plug interface", "detach interface", "route", "serve names", "refresh files", "dial")  # they may be slow
_LONG_PATIENCE = 120.0  # seconds for these, once they are read
_TEARDOWN = 60.0  # seconds for a supervisor to take everything away
_LAST_WORDS = 2.0  # seconds for a supervisor to notice that its container has ended


class SupervisedTask(HostTask):
    """`corten.tasks.contract.Task`. `run` is the directory of its supervisor.

    Without a connection its supervisor cannot be reached: what it is asked is Unavailable, until `reach` or `close`.
    `behind_start` is called once: when a start has ended, one way or the other, or there is none any more.
    """

    def __init__(
        self,
        bundle: Bundle,
        run: Path,
        connection: socket.socket | None,
        on_event: OnEvent,
        behind_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._bundle = bundle
        self._run = run
        self._on_event = on_event
        self._behind_start: Callable[[], None] | None = behind_start
        self.id = bundle.id
        self.pid = 0
        self.started = False
        self.paused = False
        self.timing: dict[str, float] = {}
        self.warnings: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        self._first: asyncio.Future[Json] = self._loop.create_future()
        self._gone = asyncio.Event()
        self._requests: dict[int, asyncio.Future[Any]] = {}
        self._version = 1  # of its supervisor, until that says another
        self._execs: dict[str, asyncio.Future[Exit]] = {}
        self._exec_pids: dict[str, int] = {}
        self._number = 0
        self._decoder = wire.Decoder()
        self._out: Outgoing | None = None
        if connection is not None:
            self.reach(connection)

    # ------------------------------------------------------------------------------------------ the connection

    def reach(self, connection: socket.socket) -> None:
        """Speak with its supervisor on `connection`, which is this task's, from now on."""
        self._out = Outgoing(connection, broken=self.close)
        self._loop.add_reader(connection.fileno(), self._read)

    @property
    def ended(self) -> bool:
        """Whether its supervisor has ended, or was given up."""
        return self._gone.is_set()

    @property
    def unreached(self) -> bool:
        """Whether its supervisor, as far as is known, is there and has not taken a connection."""
        return self._out is None and not self._gone.is_set()

    def _read(self) -> None:
        assert self._out is not None
        try:
            more = wire.receive(self._out.socket, self._decoder)
            while frame := self._decoder.next():
                self._understand(*frame)
        except BlockingIOError:
            return
        except (OSError, wire.ProtocolError) as error:
            log.debug("container %s: its supervisor is given up: %s", self.id, error)
            more = False
        if not more:
            self.close()

    def _understand(self, message: Json, fds: list[int]) -> None:
        """Supervisors send no descriptors. ProtocolError for a frame that is none of theirs."""
        for fd in fds:
            os.close(fd)
        try:
            self._received(message)
        except _MALFORMED as error:
            raise wire.ProtocolError(f"a frame that no supervisor sends: {error!r}") from error

    def _received(self, message: Json) -> None:
        event = message.get("event")
        if event is None:
            future = self._requests.pop(message["id"], None)
            if future and not future.done():
                future.set_result(message)
        elif event in ("created", "failed", "hello"):
            if event == "hello":
                self._greeted(message)
            if not self._first.done():
                self._first.set_result(message)
        elif event == "exit":
            if not endings.is_ending(message):
                raise ValueError("no ending")
            self.end(_exit_of(message))
        elif event == "exec_exit":
            self._exec_ended(message["exec"], int(message["status"]))
        elif event in ("oom", "detach"):  # what else a later version may say is ignored
            attributes = {"exec": message["exec"]} if "exec" in message else {}
            self._on_event(self.id, event, attributes)

    def _exec_ended(self, name: str, status: int) -> None:
        future = self._execs.get(name)  # none: another daemon's
        if future and not future.done():
            future.set_result(Exit(status, time.time()))
            self._on_event(self.id, "exec_exit", {"exec": name, "status": status})

    def close(self) -> None:
        """The supervisor has ended, or is given up."""
        if self._gone.is_set():
            return
        if self._out is not None:
            self._loop.remove_reader(self._out.socket.fileno())
            self._out.close()
            self._out.socket.close()
        self._out = None
        self._decoder.close()
        self._gone.set()
        for future in self._requests.values():
            if not future.done():
                future.set_exception(Conflict(f"container {self.id} is not running"))
        self._requests.clear()
        if not self._first.done():
            self._first.set_exception(Failed("the container's supervisor ended without a word; see launcher.log"))
            self._first.exception()  # or asyncio logs it as never retrieved
        if not self._exit.done():
            ending = endings.read_exit(str(self._bundle.path))
            self.end(_exit_of(ending) if ending else _lost())
        self._go_on()

    def _go_on(self) -> None:
        if self._behind_start is not None:
            self._loop.call_soon(self._behind_start)  # an answer goes first
        self._behind_start = None

    def end(self, ending: Exit) -> None:
        if not self._exit.done():
            self._exit.set_result(ending)

    async def _ask(self, do: str, fds: Sequence[int] = (), **body: Any) -> Any:
        if self.unreached:
            raise Unavailable(f"cannot reach the supervisor of container {self.id}: it takes no connections")
        if self._out is None:
            raise Conflict(f"container {self.id} is not running")
        number = self._number = self._number + 1
        future = self._requests[number] = self._loop.create_future()
        self._send({"id": number, "do": do, "until": time.monotonic() + PATIENCE, **body}, fds)
        try:
            answer = await self._within_patience(future, do)
        finally:
            self._requests.pop(number, None)
        return answers.content(answer, StartFailed if do in _LONG else Failed)

    def _tell(self, do: str, fds: Sequence[int] = (), **body: Any) -> None:
        """A request whose answer nothing waits for. Older supervisors answer all the same, which is ignored."""
        self._number += 1
        number = {"id": self._number} if self._version < requests.ANSWERS_BY_ID else {}
        self._send({**number, "do": do, **body}, fds)

    def _send(self, message: Json, fds: Sequence[int]) -> None:
        """Nothing where there is no supervisor: it has ended, or is not reached."""
        if self._out is None:
            return
        try:
            self._out.send(message, fds)
        except OSError:  # `close` sets the error of what waits for an answer
            self.close()

    async def _within_patience(self, future: asyncio.Future[Json], do: str) -> Json:
        """What the supervisor says. Unavailable when it reads nothing, or is not done with what it has read."""
        timer = self._loop.call_later(PATIENCE, self._lose_patience, future, do)
        try:
            return await future
        finally:
            timer.cancel()

    def _lose_patience(self, future: asyncio.Future[Json], do: str) -> None:
        if do in (*_LONG, *_OF_GUESTS) and self._out is not None and self._out.read():
            self._loop.call_later(_LONG_PATIENCE, self._give_up, future)
        else:
            self._give_up(future)

    def _give_up(self, future: asyncio.Future[Json]) -> None:
        if not future.done():
            text = f"cannot reach the supervisor of container {self.id}: it does not answer"
            future.set_exception(Unavailable(text))

    # ------------------------------------------------------------------------------------------------ begin

    def entrust(self, request: Json, fds: Sequence[int]) -> None:
        """Give its supervisor, which has none yet, the instance to be made. BrokenPipeError or ConnectionResetError
        when that has been killed; the task is then of no use."""
        assert self._out is not None
        try:
            self._out.send(request, fds)
        except BaseException:
            self.close()
            raise

    async def created(self) -> None:
        message = await self._within_patience(self._first, "create")
        if message["event"] == "failed":
            await self._over(_TEARDOWN)
            raise answers.failure(message, StartFailed)
        self.pid, self._version = int(message["pid"]), int(message["version"])
        self.timing.update(message["timing"])
        self.warnings.extend(message["warnings"])

    async def adopted(self) -> None:
        """Its supervisor has greeted us, or is too busy to: then state.json says what has to be known, and the event
        "reached" comes when it does. (One that hangs, in the kernel perhaps, must not keep all others waiting.)"""
        done = None
        if self._out is not None:
            done, _ = await asyncio.wait({self._first}, timeout=_GREETING)
        if done:
            return
        log.warning("container %s: its supervisor does not answer; going on without", self.id)
        self._first.add_done_callback(self._greeted_late)
        state = endings.read_state(str(self._run)) or {}
        self.pid, self.started = state.get("pid", 0), True

    def _greeted_late(self, first: asyncio.Future[Json]) -> None:
        if not first.cancelled() and not first.exception():
            self._on_event(self.id, "reached", {})

    def _greeted(self, message: Json) -> None:
        self.pid, self._version = int(message["pid"]), int(message["version"])
        self.started, self.paused = bool(message["started"]), bool(message["paused"])
        for name, state in message["execs"].items():
            future: asyncio.Future[Exit] = self._loop.create_future()
            self._execs[name] = future
            self._exec_pids[name] = int(state["pid"])
            if state["status"] is not None:
                future.set_result(Exit(int(state["status"]), time.time()))

    async def start(self, hold: Mapping[str, int] | None = None) -> Mapping[str, float]:
        try:
            if hold and self._version >= requests.HOLDS_WAITS:
                answer = await self._ask("start", [*hold.values()], hold=[*hold])
            else:
                answer = await self._ask("start")
        finally:
            self._go_on()
        self.started = True
        self.timing.update(answer["timing"])
        return self.timing

    # ------------------------------------------------------------------------------------------ while it runs

    async def attach(self, stream: Stream) -> None:
        try:
            await self._ask("attach", [stream.fd], stream=stream_options(stream))
        except Unavailable:
            hang_up(stream.fd)  # a copy is on its way to the supervisor
            raise
        finally:
            os.close(stream.fd)

    def hold(self, key: str, fd: int) -> None:
        if self._version >= requests.HOLDS_WAITS and not self._exit.done():
            self._tell("hold", [fd], key=key)

    def release(self, key: str, answer: bool) -> None:
        if self._version >= requests.HOLDS_WAITS:
            self._tell("release", key=key, answer=answer)

    async def write_log(self) -> None:
        if self._version >= requests.WRITES_LOG:
            await self._ask("write log")

    async def reopen_log(self) -> None:
        if self._version < requests.REOPENS_LOG:
            raise Unsupported(f"the supervisor of container {self.id} is older than logs that are reopened")
        await self._ask("reopen log")

    async def exec(self, spec: ExecSpec, stream: Stream | None) -> int:
        request = {
            "id": spec.id,
            "process": spec.process,
            "terminal": spec.terminal,
            "stdin": spec.stdin,
            "console_size": list(spec.console_size),
        }
        self._execs.setdefault(spec.id, self._loop.create_future())
        try:
            if stream is None:
                answer = await self._ask("exec", exec=request)
            else:
                answer = await self._ask("exec", [stream.fd], exec=request, stream=stream_options(stream))
        except BaseException:
            self._execs.pop(spec.id, None)
            raise
        finally:
            if stream is not None:
                os.close(stream.fd)
        self._exec_pids[spec.id] = int(answer["pid"])
        return self._exec_pids[spec.id]

    async def wait_exec(self, exec_id: str) -> Exit:
        """To be asked once: its end is not kept."""
        if exec_id not in self._execs:
            raise NotFound(f"no such exec: {exec_id}")
        future = self._execs[exec_id]
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait(
                (gone, asyncio.ensure_future(asyncio.shield(future))), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            gone.cancel()
        self._execs.pop(exec_id, None)
        self._exec_pids.pop(exec_id, None)
        return future.result() if future.done() else Exit(137, time.time(), error="the container has ended")

    async def signal_exec(self, exec_id: str, number: int) -> None:
        if (pid := self._exec_pids.get(exec_id)) is None:
            raise NotFound(f"no such exec: {exec_id}")
        if self._version >= requests.SIGNALS_EXECS:
            await self._ask("signal exec", exec=exec_id, signal=number)
        else:
            send_signal(pid, self.id, number)

    def execs(self) -> Mapping[str, int]:
        return dict(self._exec_pids)

    async def exec_runs(self, exec_id: str) -> bool:
        pid = self._exec_pids.get(exec_id)
        return pid is not None and runs(pid)

    async def signal(self, number: int, all_processes: bool = False) -> None:
        await self._ask("signal", signal=number, all=all_processes)

    async def pause(self) -> None:
        await self._ask("pause")
        self.paused = True

    async def resume(self) -> None:
        await self._ask("resume")
        self.paused = False

    async def resize(self, rows: int, columns: int, exec_id: str | None = None) -> None:
        await self._ask("resize", rows=rows, columns=columns, exec=exec_id)

    async def update(self, resources: Json) -> None:
        answer = await self._ask("update", resources=resources)
        self.warnings = list(answer["warnings"])

    async def pids(self) -> Sequence[int]:
        pids: list[int] = await self._ask("pids")
        return pids

    async def stats(self) -> Json:
        stats: Json = await self._ask("stats")
        return stats

    def trees(self) -> Trees:
        self._check_version(requests.OPENS_INSTANCES, "work on a tree")
        return Trees(self._work_on_tree, {"container": self.id})

    async def _work_on_tree(self, request: Json, fds: list[int]) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            await self._ask(fds=[theirs.fileno(), *fds], **request)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    async def attach_interface(self, name: str, device: int) -> None:
        self._check_version(requests.OPENS_INSTANCES, "attach an interface")
        await self._ask("attach interface", [device], name=name)

    async def detach_interface(self, name: str) -> None:
        self._check_version(requests.OPENS_INSTANCES, "detach an interface")
        await self._ask("detach interface", name=name)

    async def change_network(self, change: NetworkChange, fds: Sequence[int] = ()) -> None:
        self._check_version(requests.CHANGES_NETWORKS, "change its networks")
        await self._ask(fds=fds, **requests.encode_network(change))

    async def dial(self, port: int, connection: int) -> None:
        self._check_version(requests.DIALS, "connect to its ports")
        await self._ask("dial", [connection], port=port)

    def _check_version(self, wanted: int, what: str) -> None:
        if self._version < wanted:
            raise Unsupported(
                f"container {self.id} was started by an older version, whose supervisor cannot {what}: restart it"
            )

    # ---------------------------------------------------------------------------------------------------- end

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    async def delete(self) -> None:
        """Wait until the supervisor has taken everything away; end it first when it was created and never started."""
        try:
            if self._out and not self.started:
                await self.signal(9)
        except Unavailable:
            await self.destroy()
        except Conflict:  # it has ended meanwhile
            pass
        if not await self._over(_TEARDOWN):
            await self.destroy()
        await self.take_away()

    async def destroy(self) -> None:
        await alone(partial(leftovers.kill, self._bundle.path))  # a group that is being frozen takes its time
        if await self._over(_LAST_WORDS):
            return
        log.warning("container %s: its supervisor does not notice the end; it is killed", self.id)
        await alone(partial(leftovers.kill_supervisor, self._run))
        await self._over(_LAST_WORDS)
        self.close()  # where even that did not end it, the kernel holds it; it is the daemon's no more

    async def _over(self, seconds: float) -> bool:
        """The supervisor has ended, within so many seconds."""
        if self._gone.is_set():
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    async def take_away(self) -> None:
        """Remove what a supervisor that was killed has left. Its directory stays when its control group has processes
        that the kernel holds: `leftovers.retry` removes both."""
        if not self._run.exists():
            return
        for left in await alone(partial(leftovers.remove, self._run, self._bundle.path)):
            log.warning("container %s: its supervisor left %s", self.id, left)


def stream_options(stream: Stream) -> Json:
    return {
        "stdin": stream.stdin,
        "stdout": stream.stdout,
        "stderr": stream.stderr,
        "mux": stream.mux,
        "early": stream.early.hex(),
        "detach_keys": stream.detach_keys.hex(),
        "replay": stream.replay.hex(),
    }


def _exit_of(ending: Json) -> Exit:
    return Exit(int(ending["status"]), float(ending["at"]), bool(ending["oom_killed"]), str(ending["error"]))


def _lost() -> Exit:
    return Exit(137, time.time(), error="the container's supervisor was killed; its exit status is lost")
