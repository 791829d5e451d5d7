"""What the host asks of a guest, done. Requests come as objects on the port (`vm.frames`):

    {"id": 7, "do": "counters"}  →  {"id": 7, "ok": {...}}  or  {"id": 7, "error": {...}}, see `error_codec`

    do          with                                             ok
    configure   see `setup.configure`                            {}
    create      see `container.Container`                        {"warnings", "timing", "oom"}: of the memory
    start                                                        {}
    exec        "stream", "process", "terminal", "stdin", "size" {} when its program runs
    signal      "stream", "number", "all"                        {}
    resize      "stream", "size"                                 {}
    update      "resources"                                      {"warnings"}
    counters                                                     see `runtime.cgroups.stats`; "interfaces" beside that
    processes                                                    {"pids"}: in the guest's numbering
    table                                                        {"processes"}, see `table`
    work        "stream", "request", see `requests.encode_tree`  {} when it has begun
    end work    "stream"                                         {}
    connect     "stream", "port": of the guest's own loopback    {} when it is connected; Failed with the reason
    end connection  "stream"                                     {}
    interface   see `network.Interface`                          {}: it is there, and up
    no interface  "name"                                         {}: it is down, to be unplugged
    gateways    "name", "gateways"                               {}: default routes lead by them
    names                                                        {}: 127.0.0.11 answers
    files       "files", see `container.Container`               {}: those it has already, in place
    clock       "time": seconds since the epoch                  {}
    off                                                          nothing: the machine ends

On its own the guest says {"event": ...}: "hello" with "version"; "exit" with "stream", "status" and "out_of_memory",
behind all output of the process; "out of memory"; "reply" with "stream" and "message", what work answers, and "worked"
with "stream" at its end.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from corten.error_codec import encode
from corten.errors import Conflict, NotFound
from corten.guest import devices, network, setup, table
from corten.guest.connection import Connections
from corten.guest.container import Container
from corten.guest.machine import Machine
from corten.guest.names import Names
from corten.instance.contract import Execution
from corten.supervisor import clone
from corten.supervisor.failures import EXPECTED, print_exception
from corten.supervisor.loop import READ, Loop
from corten.supervisor.requests import decode_tree
from corten.vm import frames
from corten.vm.channel import Channel

Json = dict[str, Any]
_PROCESSORS, _MEMORY = "/devices/system/cpu/", "/devices/system/memory/"
_LONGEST = 8192  # characters of an error's text


class Agent:
    def __init__(self, port: int, machine: Machine) -> None:
        self._machine = machine
        self._loop = Loop()
        self._names = Names(self._loop)
        self._channel = Channel(self._loop, port, self._received, self._lost, frames.FROM_HOST, self._names.answered)
        self._names.channel = self._channel
        self._container: Container | None = None
        self._connections = Connections(self._loop, self._channel)

    def run(self) -> None:
        """Until the host says so, or does not listen any more. What is the same in all guests is done before hello: a
        template has it."""
        events = devices.events()
        self._come("")
        network.loopback()
        self._channel.send({"event": "hello", "version": frames.VERSION})
        self._loop.watch(events.fileno(), READ, lambda _: self._come(devices.come(events)))
        self._loop.run()

    def _come(self, device: str) -> None:
        """Processors and memory that are plugged in are taken into use; disks and interfaces when a request says so."""
        if not device or device.startswith(_PROCESSORS):
            self._machine.take_cpus()
        if not device or device.startswith(_MEMORY):
            self._machine.take_memory(os.path.basename(device))

    def _lost(self, error: Exception) -> None:
        print(f"the host is gone: {error}", file=sys.stderr, flush=True)
        self._loop.stop()

    def _received(self, message: Json) -> None:
        number = message.get("id", 0)
        try:
            answer = self._do(message, number)
        except Exception as error:
            if not isinstance(error, EXPECTED):
                print_exception()
            self.fail(number, error)
        else:
            if answer is not None:
                self._channel.send({"id": number, "ok": answer})
        clone.collect()

    def fail(self, number: int, error: Exception) -> None:
        if self._container is not None and self._container.is_over:  # which says more
            error = Conflict("the container is not running")
        body = encode(error)
        self._channel.send({"id": number, "error": {**body, "text": body["text"][:_LONGEST]}})

    def _do(self, message: Json, number: int) -> Json | None:
        """The answer; None when it is sent later, or never."""
        match do := message.get("do"):
            case "configure":
                setup.configure(message, self._machine, self._names)
            case "create":
                return self._create(message)
            case "start":
                self._running.start()
            case "exec":
                self._exec(message, number)
                return None
            case "signal":
                self._running.signal(message["stream"], message["number"], message["all"])
            case "resize":
                self._made.resize(message["stream"], message["size"])
            case "update":
                return {"warnings": list(self._running.native.update(message["resources"]))}
            case "counters":
                return {**self._running.native.counters(), "interfaces": network.counters()}
            case "processes":
                return {"pids": self._running.native.processes()}
            case "table":
                return {"processes": table.rows(self._running.native.processes())}
            case "work":
                self._running.work(message["stream"], decode_tree(message["request"]))
            case "end work":
                self._made.end_work(message["stream"])
            case "connect":
                self._connect(message, number)
                return None
            case "end connection":
                self._connections.end(message["stream"])
            case "interface":
                network.attach(network.interface(message))
            case "no interface":
                network.detach(message["name"])
            case "gateways":
                network.lead(message["name"], message["gateways"])
            case "names":
                self._names.serve()
            case "files":
                self._running.rewrite(message["files"])
            case "pause":
                self._running.native.pause()
            case "resume":
                self._running.native.resume()
            case "clock":
                self._machine.set_clock(message["time"])
            case "off":
                self._loop.stop()
                return None
            case _:
                raise ValueError(f"unknown request {do!r}")
        return {}

    @property
    def _made(self) -> Container:
        if self._container is None:
            raise NotFound("there is no container in this guest")
        return self._container

    @property
    def _running(self) -> Container:
        container = self._made
        if container.ended:
            raise Conflict("the container is not running")
        return container

    def _create(self, message: Json) -> Json:
        if self._container is not None:
            raise Conflict("there is a container in this guest")
        container = Container(self._loop, self._channel, message)
        answer = container.create()
        self._container = container
        return answer

    def _exec(self, message: Json, number: int) -> None:
        """Answered when its program runs, or cannot: nothing is waited for meanwhile."""
        process, rows_columns = message["process"], message["size"]
        execution = Execution(
            "", process, bool(message["terminal"]), bool(message["stdin"]), (rows_columns[0], rows_columns[1])
        )

        self._running.exec(message["stream"], execution, lambda error: self._done(number, error))

    def _connect(self, message: Json, number: int) -> None:
        """The same."""
        assert self._running
        self._connections.connect(message["stream"], message["port"], lambda error: self._done(number, error))

    def _done(self, number: int, error: Exception | None) -> None:
        if error is None:
            self._channel.send({"id": number, "ok": {}})
        else:
            self.fail(number, error)
