"""A container in a guest as an instance: the proxy of the `Native` that the guest's agent drives.

Everything is asked by frames on one port (`corten.vm.frames`; the requests are in `corten.guest.agent`), and everything
that comes on it may be a lie of a guest that was taken over: `vm.answers` reads it. A process that is root in a guest
can end that guest by it, and nothing else: what breaks the protocol is the end of the machine, and an end without the
agent's word about the program is status 137 with the reason.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, assert_never

from corten.errors import (
    Conflict,
    Corrupt,
    CortenError,
    Invalid,
    NotFound,
    Unavailable,
    Unsupported,
)
from corten.instance.contract import (
    ChildStdio,
    Created,
    Ending,
    Execution,
    Fetch,
    Look,
    NetworkChange,
    Put,
    Size,
    TreeRequest,
)
from corten.kernel import timers
from corten.runtime.null import OF_CONTAINER
from corten.runtime.program import with_group_names
from corten.supervisor import clone, guest_requests, guest_work, place
from corten.supervisor.failures import print_exception
from corten.supervisor.guest_connections import GuestConnections
from corten.supervisor.guest_network import GuestNetwork
from corten.supervisor.guest_process import GuestProcess, Streams
from corten.supervisor.guest_requests import GuestRequests
from corten.supervisor.guest_work import GuestWork
from corten.supervisor.loop import READ, Loop
from corten.supervisor.requests import Create, encode_tree
from corten.units.durations import in_go
from corten.vm import answers, frames, planning
from corten.vm.channel import Channel
from corten.vm.contract import Machine
from corten.vm.frames import DATA

Json = dict[str, Any]

_START = 30.0  # seconds for an answer
_BOOT = 110.0  # the same, until a guest is there: a daemon waits for two minutes
_AGAIN = 2.0  # seconds until a machine is tried again for whose disk the host had no room
_KILL = 60.0  # seconds that a guest may take to end a program that was killed, and to write its files
_LAST = 0.5  # seconds from the end of what serves a machine's shares to its own, where that is the cause
_KILLED = 128 + signal.SIGKILL


class Host(Protocol):
    """What makes machines (`supervisor.guests`)."""

    def start(self, resources: Json, network: str, shares: Sequence[Json], score: int) -> Machine:
        """Limits for the machine as a whole are `resources`; `network` is the namespace that its monitor is in, "" for
        one of its own; `shares` and `score` are of `planning.Plan`. Called once."""

    @property
    def shares_end(self) -> int:
        """A pidfd of what serves the shares, readable at its end; -1 when there are none."""

    def shares_words(self) -> str:
        """The last that it has said."""

    def limit(self, resources: Json) -> Sequence[str]:
        """Other limits for it; warnings."""

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed it, or what serves its shares, for lack of memory in its group."""

    def names(self, fd: int) -> Names:
        """What answers by that socket, which is its own from now on."""

    def release(self) -> None:
        """The machine is closed: nothing else of it is left afterwards. Idempotent."""


class Names(Protocol):
    """What answers the guest's DNS questions."""

    def watch(self, loop: Loop) -> None: ...

    def ask(self, question: bytes, send: Callable[[bytes], None]) -> None: ...

    def close(self) -> None: ...


class Virtual:
    def __init__(self, request: Create, filter_fd: int, host: Host, names: Names | None = None) -> None:
        self._request, self._filter_fd, self._host, self._names = request, filter_fd, host, names
        self._loop = Loop()
        self.events = self._loop.fileno()
        self._machine: Machine | None = None
        self._channel: Channel | None = None
        self._agent = GuestRequests(self._loop, lambda: self._machine is not None and self._machine.stalled)
        self._stream = 0
        self._processes: dict[int, GuestProcess] = {}
        self._works: dict[int, GuestWork] = {}
        self._first = Streams()
        self._ended = self._oom = -1
        self._ending: Ending | None = None
        self._killing = -1  # a timer, when the program has to end
        self._deaf = -1  # the same, when its agent has to have said that it killed it
        self._again = -1  # the same, when a machine that is stalled is to go on
        self._memory = request.guest.section.memory if request.guest.section else 0
        self._paused = False
        self._last: Json = {}  # counters, of a guest that is paused
        self._busy = 0  # requests that its machine goes on for while it is paused
        self._connections = GuestConnections(
            self._agent.ask, lambda stream: self._agent.send("end connection", None, stream=stream)
        )
        self._network = GuestNetwork(self._agent.ask, lambda: self._running, self._serve_names)

    def advance(self) -> None:
        self._loop.step(0)

    # ---------------------------------------------------------------------------------------------------- creation

    def create(self, stdio: ChildStdio, size: Size) -> Created:
        request = self._request
        place.prepare(request.run, request.bundle)
        with open(os.path.join(request.bundle, "config.json"), "rb") as file:
            spec = json.load(file)
        spec["process"] = with_group_names(spec["process"], spec)
        plan = planning.plan(spec)
        files = self._network.files(plan.files)
        timing: dict[str, float] = {}
        with clone.timed(timing, "machine"):
            self._machine = machine = self._host.start(plan.host, plan.network, plan.shares, plan.score)
        self._ended, self._oom = _event(), _event()
        self._loop.watch(machine.ended, READ, lambda _: self._machine_ended())
        self._loop.watch(machine.attention, READ, lambda _: self._attend(machine))
        if self._host.shares_end >= 0:
            self._loop.watch(self._host.shares_end, READ, self._shares_ended)
        self._channel = self._agent.channel = Channel(
            self._loop, machine.agent.fileno(), self._received, self._lost, frames.FROM_GUEST, self._asked
        )
        if self._names:
            self._names.watch(self._loop)
        with clone.timed(timing, "guest"):
            self._agent.ask("configure", _BOOT, **self._settings(spec))
        console = self._first.open(self._channel, 0, stdio)
        with clone.timed(timing, "container"):
            made = self._agent.ask("create", _BOOT, **self._container(plan, files, stdio, size))
        self._first.begin(self._channel, 0)
        listener = place.settle(request.run, machine.pid, os.getpid())
        return Created(machine.pid, self._ended, console, listener, self._oom, timing, answers.warnings(made))

    def _attend(self, machine: Machine) -> None:
        machine.attend()
        if machine.stalled and self._again < 0:
            self._again = timers.after(_AGAIN)
            self._loop.watch(self._again, READ, lambda _: self._try_again(machine))

    def _try_again(self, machine: Machine) -> None:
        """There may be room on the host's disk by now. The machine says so when there is none."""
        self._loop.forget(self._again)
        os.close(self._again)
        self._again = -1
        if machine.stalled and (self._busy or not self._paused):
            try:
                machine.resume()
            except CortenError:
                print_exception()

    def _settings(self, spec: Json) -> Json:
        guest = self._request.guest
        self._network.has(guest.interfaces)
        return {
            "random": os.urandom(64).hex(),
            "time": time.time(),
            "hostname": spec.get("hostname") or "",
            "interfaces": guest.interfaces,
            "names": self._names is not None,
        }

    def _container(self, plan: planning.Plan, files: list[Json], stdio: ChildStdio, size: Size) -> Json:
        request, spec = self._request, plan.spec
        group = request.cgroup or f"/corten/{request.id}"
        spec["linux"]["cgroupsPath"] = group
        return {
            "request": {
                "id": request.id,
                "rootfs": request.rootfs,
                "cgroup": group,
                "clone_namespaces": request.clone_namespaces,
                "terminal": stdio is None,
                "open_stdin": stdio is None or stdio[0] != OF_CONTAINER,
                "console_size": size,
            },
            "config": spec,
            "filter": (clone.filter_of(self._filter_fd) or b"").hex(),
            "disks": request.guest.disks,
            "devices": request.guest.devices,
            "files": files,
            "shares": bool(plan.shares),
            "sysctls": plan.sysctls,
        }

    def start(self) -> None:
        self._agent.ask("start", _START)
        self._agent.started = True

    # ------------------------------------------------------------------------------------------------- conversation

    def _received(self, message: Json) -> None:
        said = answers.read(message)
        if isinstance(said, answers.Answer):
            self._agent.answered(said)
        elif isinstance(said, answers.Exited):
            self._exited(said)
        elif isinstance(said, answers.Reply):
            self._work(said.stream).reply(said.message)
        elif isinstance(said, answers.Worked):
            self._work(said.stream).ends()
            self._worked(said.stream)
        elif isinstance(said, answers.OutOfMemory):
            os.eventfd_write(self._oom, 1)
        elif isinstance(said, answers.Hello):
            if said.version != frames.VERSION:
                raise Corrupt(f"an agent of version {said.version}; this engine speaks {frames.VERSION}")
        else:
            assert_never(said)

    def _work(self, stream: int) -> GuestWork:
        if stream not in self._works:
            raise Corrupt(f"word of work {stream}, which there is not")
        return self._works[stream]

    def _exited(self, said: answers.Exited) -> None:
        if said.stream:
            process = self._processes.get(said.stream)
            if process is None or not process.begun:
                raise Corrupt(f"the end of process {said.stream}, which does not run")
            del self._processes[said.stream]
            process.exits(said.status)
            return
        if self._ending is not None:
            raise Corrupt("the program ends a second time")
        self._ending = Ending(said.status, said.out_of_memory)
        if said.out_of_memory:
            os.eventfd_write(self._oom, 1)
        self._first.finish(lambda: os.eventfd_write(self._ended, 1))

    def _asked(self, number: int, question: bytes) -> None:
        if self._names is not None:
            channel = self._channel
            assert channel is not None
            self._names.ask(question, lambda reply: channel.offer(frames.frame(frames.DNS, number, reply)))

    # --------------------------------------------------------------------------------------------------------- ends

    def _lost(self, error: Exception) -> None:
        """Nothing that comes on the port can be read any more. What is said is said when the machine has ended."""
        assert self._channel is not None and self._machine is not None
        if isinstance(error, Corrupt):
            self._agent.end(f"its agent broke the protocol: {error}")
        elif not isinstance(error, (EOFError, OSError)):
            print_exception()
            self._agent.end(f"what its agent said could not be done: {type(error).__name__}: {error}")
        self._channel.close()
        self._machine.kill()

    def _machine_ended(self) -> None:
        machine, channel = self._machine, self._channel
        assert machine is not None and channel is not None
        self._loop.forget(machine.ended)
        machine.attend()  # its last words
        self._loop.forget(machine.attention)
        channel.close()
        lacked = self._host.out_of_memory()
        if lacked:
            self._agent.reason = "QEMU has used up the memory that its control group has on the host"
        self._agent.end(self._agent.reason or machine.last_words() or "the machine ended")
        for process in self._processes.values():
            process.exits(_KILLED)
        for work in self._works.values():
            work.ends()
        self._processes, self._works = {}, {}
        self._agent.forget()
        self._connections.end()
        if self._ending is None:
            self._ending = Ending(_KILLED, lacked, f"the guest ended without its program: {self._agent.reason}")
            self._first.finish(lambda: os.eventfd_write(self._ended, 1))

    def _shares_ended(self, ended: int) -> None:
        """What looks into them waits for ever from now on, so this is an end; but for a machine that ends by itself,
        whose shares end with it."""
        self._loop.forget(ended)
        assert self._machine is not None
        if not select.select([self._machine.ended], [], [], _LAST)[0]:
            words = self._host.shares_words()
            served = "virtiofsd, which serves its binds and volumes, has ended"
            self._agent.end(f"{served}: {words}" if words else served)
            self._kill()

    def out_of_memory(self) -> bool:
        try:
            os.eventfd_read(self._oom)
        except BlockingIOError:
            return False
        return True

    def ending(self) -> Ending:
        assert self._ending is not None
        self._kill()
        return self._ending

    def _kill(self) -> None:
        try:
            if self._machine:
                self._machine.kill()
        except (OSError, CortenError):
            print_exception()

    def delete(self) -> None:
        if self.events < 0:
            return
        self.events = -1
        self._kill()
        for process in self._processes.values():
            process.exits(_KILLED)
        self._connections.end()
        self._first.close()
        if self._channel:
            self._channel.close()
        if self._machine:
            self._machine.close()
        self._host.release()
        if self._names:
            self._names.close()
        self._loop.close()
        for fd in (self._ended, self._oom, self._killing, self._deaf, self._again):
            if fd >= 0:
                os.close(fd)
        self._agent.end("it was deleted")

    # ------------------------------------------------------------------------------------------------------ the rest

    def enter(self, execution: Execution, stdio: ChildStdio) -> GuestProcess:
        if self._ending is not None:
            raise NotFound("the container is not running")
        channel, stream = self._channel, self._new_stream()
        assert channel is not None
        process = GuestProcess(channel, stream, stdio, self._signal)
        try:
            self._agent.send(
                "exec",
                lambda answer: self._entered(process, answer),
                stream=stream,
                process=execution.process,
                terminal=stdio is None,
                stdin=stdio is None or stdio[0] != OF_CONTAINER,
                size=execution.size,
            )
        except BaseException:
            process.discard()
            raise
        self._processes[stream] = process
        return process

    def _entered(self, process: GuestProcess, answer: answers.Answer) -> None:
        if answer.error is not None:
            self._processes.pop(process.stream, None)
        process.begins(answer.error)

    def _new_stream(self) -> int:
        self._stream += 1
        return self._stream

    def _signal(self, stream: int, number: int, all_processes: bool = False) -> None:
        """A paused guest gets it when it goes on."""
        fields: Json = {"stream": stream, "number": number, "all": all_processes}
        if self._paused:
            self._agent.send("signal", None, **fields)
        else:
            self._agent.ask("signal", **fields)

    def signal(self, number: int, all_processes: bool) -> None:
        if self._ending is not None:
            raise Conflict("the container is not running")
        if number == signal.SIGKILL and self._killing < 0:
            self._killing = timers.after(_KILL)
            self._loop.watch(self._killing, READ, lambda _: self._survived(self._killing, _KILL))
        try:
            self._signal(0, number, all_processes)
        except Unavailable:
            if number != signal.SIGKILL:
                raise
            self._unanswered()

    def _unanswered(self) -> None:
        """It was asked to kill the program, and has not answered yet. When it has been silent for as long as any answer
        may take, also to what it was asked before, nothing will, and its machine ends."""
        if self._deaf >= 0:
            return
        overdue, now = self._agent.overdue, time.monotonic()
        asked = max(overdue, default=0)
        self._deaf = timers.after(min(overdue.values(), default=now) + guest_requests.PATIENCE - now)

        def passed(_: int) -> None:
            self._loop.forget(self._deaf)
            os.close(self._deaf)
            self._deaf = -1
            if asked in overdue and not self._running.stalled:
                self._survived(-1, guest_requests.PATIENCE)

        self._loop.watch(self._deaf, READ, passed)

    def _survived(self, timer: int, seconds: float) -> None:
        """No program does: this agent lies, or hangs."""
        self._loop.forget(timer)
        if self._ending is None:
            self._agent.end(f"it did not end within {in_go(seconds)} of being killed")
            self._kill()

    def pause(self) -> None:
        if not self._paused:
            self._last = answers.counters(self._agent.ask("counters"))
            self._agent.ask("pause")  # so that its tree can be worked on while its processes stand still
            try:
                self._running.pause()
            except BaseException:  # it may stop later all the same: behind that it goes on
                self._running.go_on()
                self._agent.send("resume", None)
                raise
            self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._running.resume()
            self._paused = False
            self._agent.send("clock", None, time=time.time())  # it stood still
            self._agent.send("resume", None)

    @property
    def _running(self) -> Machine:
        if self._machine is None:
            raise NotFound("there is no guest")
        return self._machine

    def resize(self, console: int, size: Size) -> None:
        place = Streams.identity(console)
        for stream, streams in ((0, self._first), *((n, p.streams) for n, p in self._processes.items())):
            if streams.console == place:
                self._agent.send("resize", None, stream=stream, size=size)

    def update(self, resources: Json) -> Sequence[str]:
        if self._paused:
            raise Conflict("the container is paused")
        machine, section = self._running, self._request.guest.section
        limit, cpus = (resources.get("memory") or {}).get("limit") or 0, planning.cpus_of(resources)
        memory = planning.memory_of(limit) if limit > 0 else 0
        if section is not None and memory > section.shape.max_memory:
            most = section.shape.max_memory - planning.OVERHEAD
            raise Invalid(f"the guest was made for at most {most} bytes of memory: {limit} are too many")
        if section is not None and cpus > section.shape.max_cpus:
            raise Invalid(f"the guest was made for at most {section.shape.max_cpus} processors: {cpus} are too many")
        grows = memory > self._memory
        if grows:  # first, and last when it gets less: its limit is never more than what there is
            self._host.limit(planning.of_qemu(memory))  # and never lower again: a guest gives back in its own time
            machine.set_memory(memory)
        if cpus:
            machine.set_cpus(cpus)
        warnings = [*self._host.limit(planning.of_machine(resources))]
        warnings += answers.warnings(self._agent.ask("update", resources=resources))
        if memory and not grows:
            machine.set_memory(memory)
        self._memory = memory or self._memory
        return warnings

    def processes(self) -> list[int]:
        raise Unsupported("processes of a guest have no numbers on the host")

    def counters(self) -> Json:
        """Of a paused guest those that it had then."""
        return self._last if self._paused else answers.counters(self._agent.ask("counters"))

    def table(self) -> list[Json]:
        return answers.table(self._agent.ask("table"))

    def work(self, request: TreeRequest, reply: int, data: int) -> GuestWork:
        if self._ending is not None:
            raise NotFound("the container is not running")
        channel, stream = self._channel, self._new_stream()
        assert channel is not None
        shows, end_it = isinstance(request, (Fetch, Look)), lambda: self._agent.send("end work", None, stream=stream)
        work = GuestWork(self._loop, channel, stream, reply, shows, end_it, self._over)
        self._works[stream] = work
        if self._paused:
            self._running.resume()  # its processes stay frozen
        if not isinstance(request, (Look, Put)):
            work.receive(data)
        try:
            self._agent.ask("work", stream=stream, request=encode_tree(request))
        except BaseException:
            self._worked(stream)
            work.discard()
            raise
        if isinstance(request, Put):
            channel.source(DATA, stream, guest_work.reopened(data, os.O_RDONLY), lambda: None)
        return work

    def _worked(self, stream: int) -> None:
        """The machine of a container that is paused stands still but for work."""
        self._works.pop(stream, None)
        self._rest()

    def _over(self, stream: int) -> bool:
        return stream not in self._works

    def attach(self, name: str, device: int) -> None:
        with self._awake():
            self._network.attach(name, device)

    def detach(self, name: str) -> None:
        with self._awake():
            self._network.detach(name)

    def change_network(self, change: NetworkChange, fds: Sequence[int] = ()) -> None:
        with self._awake():
            self._network.change(change, fds)

    def dial(self, port: int, connection: int) -> None:
        if self._ending is not None:
            raise NotFound("the container is not running")
        if self._paused:
            raise Conflict("the container is paused")
        assert self._channel is not None
        self._connections.dial(self._channel, self._new_stream(), port, connection)

    def _serve_names(self, fd: int) -> None:
        """Of now on by this socket, in the place of another one."""
        if self._names:
            self._names.close()
        self._names = self._host.names(fd)
        self._names.watch(self._loop)

    @contextmanager
    def _awake(self) -> Iterator[None]:
        """The machine of a container that is paused goes on for what its agent is to do; its processes stay frozen."""
        self._busy += 1
        try:
            if self._paused:
                self._running.resume()
            yield
        finally:
            self._busy -= 1
            self._rest()

    def _rest(self) -> None:
        """What was asked is done, whether or not the machine stops in time: its processes are frozen."""
        if self._paused and not self._works and not self._busy and not self._agent.reason:
            try:
                self._running.pause()
            except CortenError:
                print_exception()


def _event() -> int:
    return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
