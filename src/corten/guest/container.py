"""The one container of a guest: an instance as a supervisor has it, whose streams are frames instead of clients."""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Callable
from typing import Any

from corten.errors import CortenError, NotFound
from corten.guest import devices, disks, shares
from corten.instance.contract import Created, Execution, Look, Process, Put, Size, TreeRequest, Work
from corten.kernel import memfd
from corten.supervisor import requests, wire
from corten.supervisor.failures import print_exception
from corten.supervisor.loop import READ, Loop
from corten.supervisor.native import Native
from corten.supervisor.output import Stdio, capacity
from corten.vm.channel import Channel, Source
from corten.vm.frames import DATA, STDERR, STDIN, STDOUT

Json = dict[str, Any]

RUN, BUNDLE = "/run/corten/container", "/run/corten/bundle"
_KINDS = {1: STDOUT, 2: STDERR}


class Streams:
    """Those of one process. `gone` is called when it has ended and all that it wrote is on its way."""

    def __init__(self, channel: Channel, stream: int, stdio: Stdio, console: int, stdin: bool) -> None:
        stdio.started(console)
        self.console = console
        self._gone: Callable[[], None] | None = None
        self._open = len(stdio.outputs)
        if stdin:
            channel.sink(STDIN, stream, os.dup(console) if stdio.terminal else stdio.stdin)
        self._sources: list[tuple[int, Source]] = [
            (fd, channel.source(_KINDS[number], stream, fd, self._ended)) for fd, number in stdio.outputs.items()
        ]

    def _ended(self) -> None:
        self._open -= 1
        if not self._open and self._gone:
            self._gone()

    def finish(self, gone: Callable[[], None]) -> None:
        self.console = -1
        if not self._open:
            gone()
            return
        self._gone = gone
        for fd, source in self._sources:
            source.finish(capacity(fd))


class Container:
    """Made from {"request": as of `requests.decode_create`, "config": a specification, "filter": system calls' filter
    in hexadecimal, "disks": see `disks`, "files": [{"path", "content": hexadecimal, "mode"}], "devices": see
    `devices.of_container`, "shares": whether there are directories of the host, "sysctls": {name: value} of the
    guest's network}."""

    def __init__(self, loop: Loop, channel: Channel, message: Json) -> None:
        self._loop, self._channel, self._message = loop, channel, message
        self._request = requests.decode_create({**message["request"], "run": RUN, "bundle": BUNDLE})
        self._filter = bytes.fromhex(message["filter"])
        self._streams: dict[int, Streams] = {}
        self._processes: dict[int, Process] = {}
        self._works: dict[int, TreeWork] = {}
        self.ended = False  # after which only `delete` is in order, while the last of its output is still on its way
        self._first = -1  # its first process, readable when that has ended

    def create(self) -> Json:
        message = self._message
        for file in message["files"]:
            write_file(file["path"], bytes.fromhex(file["content"]), file["mode"])
        devices.of_container(message["config"]["linux"], message.get("devices") or ())
        os.makedirs(BUNDLE, 0o700, exist_ok=True)
        write_file(f"{BUNDLE}/config.json", json.dumps(message["config"]).encode(), 0o600)
        filter_fd = memfd.holding("filter", (self._filter,)) if self._filter else -1
        for name, value in message["sysctls"].items():
            write_sysctl(name, value)
        disks.mount(message["disks"])
        if message.get("shares"):
            shares.mount()
        request = self._request
        self.native = Native(request, filter_fd)
        stdio = Stdio(request.terminal, request.open_stdin)
        try:
            created = self.native.create(stdio.child, request.size)
        except BaseException:
            stdio.close()
            self._delete()
            raise
        created.listener.close()  # nothing connects to it here
        self._streams[0] = Streams(self._channel, 0, stdio, created.console, request.open_stdin)
        self._first = created.ended
        self._loop.watch(created.ended, READ, lambda _: self._end(created))
        if created.oom >= 0:
            self._loop.watch(created.oom, READ, self._out_of_memory)
        self._message = {}
        return {"warnings": list(created.warnings), "timing": created.timing, "oom": created.oom >= 0}

    @property
    def is_over(self) -> bool:
        """Also before this process has noticed: what it does with a container then fails in many ways."""
        return self.ended or (self._first >= 0 and bool(select.select((self._first,), (), (), 0)[0]))

    def start(self) -> None:
        self.native.start()

    def rewrite(self, files: list[Json]) -> None:
        """Those that were written when it was made."""
        for file in files:
            write_file(file["path"], bytes.fromhex(file["content"]), file["mode"])

    def _out_of_memory(self, _: int) -> None:
        if self.native.out_of_memory():
            self._channel.send({"event": "out of memory"})

    def _end(self, created: Created) -> None:
        self._loop.forget(created.ended)
        self._loop.forget(created.oom)  # its group goes
        self.ended = True
        ending = self.native.ending()
        for work in list(self._works.values()):
            work.end()

        def gone() -> None:
            self._settle()  # all is on its disks: the host ends the machine when it hears of this
            self._channel.send(
                {"event": "exit", "stream": 0, "status": ending.status, "out_of_memory": ending.out_of_memory}
            )
            self._delete()

        self._streams[0].finish(gone)

    def _settle(self) -> None:
        try:
            devices.flush()
            disks.unmount()
        except (OSError, CortenError):
            print_exception()

    def _delete(self) -> None:
        try:
            self.native.delete()
        except (OSError, CortenError):
            print_exception()
        self._settle()

    # ------------------------------------------------------------------------------------------------- processes

    def exec(self, stream: int, execution: Execution, done: Callable[[Exception | None], None]) -> None:
        stdio = Stdio(execution.terminal, execution.stdin)
        try:
            process = self.native.enter(execution, stdio.child)
        except BaseException:
            stdio.close()
            raise
        fd = process.ready

        def ready(_: int) -> None:
            self._loop.forget(fd)
            try:
                console = process.started()
            except (CortenError, OSError) as error:
                stdio.close()
                done(error)
                return
            if console is None:
                self._loop.watch(fd, READ, ready)
                return
            self._streams[stream] = Streams(self._channel, stream, stdio, console, execution.stdin)
            self._processes[stream] = process
            done(None)
            self._loop.watch(process.ended, READ, lambda _: self._exec_ended(stream, process))

        self._loop.watch(fd, READ, ready)

    def _exec_ended(self, stream: int, process: Process) -> None:
        self._loop.forget(process.ended)
        status = process.reap()

        def gone() -> None:
            del self._streams[stream]
            self._channel.send({"event": "exit", "stream": stream, "status": status, "out_of_memory": False})

        del self._processes[stream]
        self._streams[stream].finish(gone)

    def signal(self, stream: int, number: int, all_processes: bool) -> None:
        """Nothing happens when that further process has ended."""
        if stream == 0:
            self.native.signal(number, all_processes)
        elif process := self._processes.get(stream):
            process.signal(number)

    def resize(self, stream: int, size: Size) -> None:
        streams = self._streams.get(stream)
        if streams and streams.console >= 0:
            self.native.resize(streams.console, size)

    # ----------------------------------------------------------------------------------------------------- trees

    def work(self, stream: int, request: TreeRequest) -> None:
        self._works[stream] = TreeWork(self, self._loop, self._channel, stream, request)

    def end_work(self, stream: int) -> None:
        if work := self._works.get(stream):
            work.end()

    def worked(self, stream: int) -> None:
        del self._works[stream]
        self._channel.send({"event": "worked", "stream": stream})


class TreeWork:
    """What is done about the tree, between the instance's descriptors and frames."""

    def __init__(self, container: Container, loop: Loop, channel: Channel, stream: int, request: TreeRequest) -> None:
        self._container, self._loop, self._channel, self._stream = container, loop, channel, stream
        self._reply, theirs = socket.socketpair()
        self._decoder = wire.Decoder()
        ours, pipe = _pipe(request)
        try:
            with theirs:
                self._work: Work = container.native.work(request, theirs.fileno(), pipe)
        except BaseException:
            self._reply.close()
            if ours >= 0:
                os.close(ours)
            raise
        finally:
            if pipe >= 0:
                os.close(pipe)
        self._open = 2  # what is waited for: its end, and that of its answers
        self._source: Source | None = None
        if isinstance(request, Put):
            channel.sink(DATA, stream, ours)
        elif ours >= 0:
            self._open += 1
            self._source = channel.source(DATA, stream, ours, self._closed)
        self._reply.setblocking(False)
        loop.watch(self._reply.fileno(), READ, self._answer)
        loop.watch(self._work.ended, READ, lambda _: self._reap())

    def _answer(self, _: int) -> None:
        try:
            more = wire.receive(self._reply, self._decoder)
        except BlockingIOError:
            return
        except (OSError, wire.ProtocolError):
            more = False
        while more and (frame := self._decoder.next()) is not None:
            self._channel.send({"event": "reply", "stream": self._stream, "message": frame[0]})
        if not more:
            self._loop.forget(self._reply.fileno())
            self._reply.close()
            self._closed()

    def _reap(self) -> None:
        self._loop.forget(self._work.ended)
        self._work.reap()
        self._closed()

    def _closed(self) -> None:
        self._open -= 1
        if not self._open:
            self._container.worked(self._stream)

    def end(self) -> None:
        """What it has written is not wanted any more, and may never be let through: its reader is gone."""
        if self._work.ended >= 0:
            self._work.end()
        if self._source is not None and self._source.open:
            self._source.close()
            self._closed()


def _pipe(request: TreeRequest) -> tuple[int, int]:
    """(our end, the work's)."""
    if isinstance(request, Look):
        return -1, -1
    reader, writer = os.pipe2(os.O_CLOEXEC)
    return (writer, reader) if isinstance(request, Put) else (reader, writer)


def write_sysctl(name: str, value: str) -> None:
    """NotFound for one that the guest's kernel does not have. The name is the host's, and checked there."""
    try:
        with open(os.path.join("/proc/sys", name.replace(".", "/")), "w") as file:
            file.write(value)
    except FileNotFoundError:
        raise NotFound(f"the guest's kernel has no sysctl {name}") from None


def write_file(path: str, content: bytes, mode: int) -> None:
    """One of our own, in a directory that is made for it. What a container holds a lease on is not waited for."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        os.fchmod(fd, mode)
