"""The process itself: it does what the daemon says, and goes on without one.

    all       networks, containers     everything there is; who is not among the containers is served no more
    put       network, name, container, host     a host of a network, see `directory`
    drop      network, container
    serve     container, servers, open, and two descriptors: UDP, and TCP listening, inside its namespace
    open      container, open     whether one of its networks has a way out
    end       container
    quit

Nothing of it is answered. The first frame to a daemon that connects says which containers are served: {"event":
"hello", "version", "containers"}. Without a daemon, containers that end are forgotten (their directory under `runs` is
gone then), and with the last one the process ends.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from corten.kernel import caps
from corten.kernel import process as p
from corten.supervisor import wire
from corten.supervisor.failures import print_exception
from corten.supervisor.loop import READ, Loop
from corten.supervisor.names.directory import Directory
from corten.supervisor.names.service import Service
from corten.supervisor.names.upstreams import Upstreams

Json = dict[str, Any]

VERSION = 2
SOCKET = "names.sock"
_LOOK_EVERY = 1.0  # seconds, while there is no daemon


class Server:
    """`place` is a directory's descriptor: the daemon's exec root, with "containers" in it."""

    def __init__(self, place: int, resolv_conf: str) -> None:
        self._place = place
        self._loop = Loop()
        self._directory = Directory()
        self._upstreams = Upstreams(self._loop, resolv_conf)
        self._services: dict[str, Service] = {}
        self._daemon: socket.socket | None = None
        self._looking = False
        self._decoder = wire.Decoder()
        self._listener = listen(place)
        self._own = os.stat(SOCKET, dir_fd=place).st_ino
        self._loop.accept(self._listener, self._came)

    def run(self) -> None:
        self._loop.run()
        for container in list(self._services):
            self._end(container)

    def adopt(self, daemon: socket.socket) -> None:
        """A daemon's connection; an earlier one's is over."""
        self._lose()
        self._daemon, self._decoder = daemon, wire.Decoder()
        wire.send(daemon, {"event": "hello", "version": VERSION, "containers": list(self._services)})
        self._loop.watch(daemon.fileno(), READ, self._readable)

    # ---------------------------------------------------------------------------------------------------- daemons

    def _came(self, connection: socket.socket) -> None:
        try:
            self.adopt(connection)
        except OSError:
            print_exception()
            self._gone()

    def _readable(self, _: int) -> None:
        assert self._daemon is not None
        try:
            alive = wire.receive(self._daemon, self._decoder)
            while frame := self._decoder.next():
                self._do(*frame)
        except (OSError, wire.ProtocolError):
            print_exception()
            alive = False
        if not alive:
            self._gone()

    def _do(self, request: Json, fds: list[int]) -> None:
        """What cannot be done is said, and all else goes on: every container has only this process."""
        try:
            _DO[request["do"]](self, request, fds)
        except Exception:
            print_exception()

    def _gone(self) -> None:
        self._lose()
        if not self._looking:
            self._alone()

    def _lose(self) -> None:
        if self._daemon is not None:
            self._loop.forget(self._daemon.fileno())
            self._daemon.close()
            self._daemon = None

    def _alone(self) -> None:
        """No daemon reports ends: look for them, until there is one."""
        self._looking = self._daemon is None
        if not self._looking:
            return
        for container in list(self._services):
            self._end_if_gone(container)
        if self._services:
            self._loop.after(_LOOK_EVERY, self._alone)
        else:
            self._quit()

    def _end_if_gone(self, container: str) -> None:
        try:
            os.stat(f"containers/{container}", dir_fd=self._place)
        except FileNotFoundError:
            self._end(container)
        except OSError:  # unknown: it is looked for again
            print_exception()

    def _quit(self) -> None:
        """The name goes before the listener does: who finds no name starts another, and that one's name must stay."""
        try:
            if os.stat(SOCKET, dir_fd=self._place).st_ino == self._own:
                os.unlink(SOCKET, dir_fd=self._place)
        except FileNotFoundError:
            pass
        self._loop.stop()

    # ----------------------------------------------------------------------------------------------- requests

    def _all(self, request: Json, _: list[int]) -> None:
        self._directory.replace(request["networks"])
        for container in set(self._services) - set(request["containers"]):
            self._end(container)
        for container, wanted in request["containers"].items():
            self._set(container, wanted)

    def _put(self, request: Json, _: list[int]) -> None:
        self._directory.put(request["network"], request["name"], request["container"], request["host"])

    def _drop(self, request: Json, _: list[int]) -> None:
        self._directory.drop(request["network"], request["container"])

    def _serve(self, request: Json, fds: list[int]) -> None:
        container = request["container"]
        if (old := self._services.pop(container, None)) is not None:
            old.close()
        udp, tcp = fds
        self._services[container] = Service(self._loop, self._directory, self._upstreams, container, udp, tcp)
        self._set(container, request)

    def _set(self, container: str, request: Json) -> None:
        if (service := self._services.get(container)) is not None:
            service.open = bool(request["open"])
            service.servers = request.get("servers", service.servers)

    def _open(self, request: Json, _: list[int]) -> None:
        self._set(request["container"], request)

    def _ended(self, request: Json, _: list[int]) -> None:
        self._end(request["container"])

    def _end(self, container: str) -> None:
        if (service := self._services.pop(container, None)) is not None:
            service.close()
        self._directory.forget(container)

    def _asked_to_quit(self, request: Json, _: list[int]) -> None:
        self._quit()


_DO: dict[str, Callable[[Server, Json, list[int]], None]] = {
    "all": Server._all,
    "put": Server._put,
    "drop": Server._drop,
    "serve": Server._serve,
    "open": Server._open,
    "end": Server._ended,
    "quit": Server._asked_to_quit,
}


def listen(place: int) -> socket.socket:
    """Where daemons connect, in place of what an earlier process left there."""
    try:
        os.unlink(SOCKET, dir_fd=place)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    os.fchmod(listener.fileno(), 0o600)  # its file's mode: there is no moment in which it is open to others
    listener.bind(f"/proc/self/fd/{place}/{SOCKET}")  # a socket's path must not be longer than 107 bytes
    listener.listen(4)
    listener.setblocking(False)
    return listener


def main(request: Json, fds: list[int]) -> None:
    """{"resolv_conf"}, and [the daemon's connection, its exec root]. Never returns.

    What it reads comes from containers, so it has no capability.
    """
    status = 1
    try:
        p.set_name("corten:names")
        daemon, place = fds
        server = Server(place, request["resolv_conf"])
        caps.capset((), (), ())
        server.adopt(socket.socket(fileno=daemon))
        server.run()
        status = 0
    except BaseException:
        print_exception()
    os._exit(status)
