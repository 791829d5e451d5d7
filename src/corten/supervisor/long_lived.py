"""A process that serves the daemon's requests, and goes on without one: the connection, and what happens meanwhile.

The first frame to a daemon that connects is {"event": "hello", "version", ...}; a request is one frame, with its
descriptors. A daemon that connects takes the place of an earlier one. Without a daemon, containers that end are
dropped (their directory under `containers` is gone then), and with the last one the process ends.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection
from typing import Any, NoReturn

from corten.kernel import caps
from corten.supervisor import wire
from corten.supervisor.failures import print_exception
from corten.supervisor.loop import READ, Loop

Json = dict[str, Any]

_LOOK_EVERY = 1.0  # seconds, while there is no daemon


class LongLived:
    """`place` is a directory's descriptor: the daemon's exec root, with "containers" in it; `name` the socket's there.

    A subclass has what is done: `verbs`, `hello`, `containers`, `end`.
    """

    def __init__(self, place: int, name: str) -> None:
        self._place, self._name = place, name
        self._loop = Loop()
        self._daemon: socket.socket | None = None
        self._looking = False
        self._decoder = wire.Decoder()
        self._listener = _listen(place, name)
        self._own = os.stat(name, dir_fd=place).st_ino
        self._loop.accept(self._listener, self._came)

    def verbs(self) -> dict[str, Callable[[Json, list[int]], None]]:
        """What a request may have under "do". The descriptors are the function's to close."""
        raise NotImplementedError

    def hello(self) -> Json:
        """What is sent to a daemon that connects: the version, and what is served."""
        raise NotImplementedError

    def containers(self) -> Collection[str]:
        """Those that something is done for."""
        raise NotImplementedError

    def end(self, container: str) -> None:
        """Drop this container. Idempotent."""
        raise NotImplementedError

    # --------------------------------------------------------------------------------------------------- its life

    def run(self) -> None:
        self._loop.run()
        for container in list(self.containers()):
            self.end(container)

    def quit(self) -> None:
        """The name goes before the listener: a daemon that finds no name starts another one, whose name stays."""
        try:
            if os.stat(self._name, dir_fd=self._place).st_ino == self._own:
                os.unlink(self._name, dir_fd=self._place)
        except FileNotFoundError:
            pass
        self._loop.stop()

    # ---------------------------------------------------------------------------------------------------- daemons

    def adopt(self, daemon: socket.socket) -> None:
        """A daemon's connection; an earlier one's is over."""
        self._lose()
        self._daemon, self._decoder = daemon, wire.Decoder()
        wire.send(daemon, {"event": "hello", **self.hello()})
        self._loop.watch(daemon.fileno(), READ, self._readable)

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
        """What cannot be done is logged, and all else goes on: every container has only this process."""
        try:
            self.verbs()[request["do"]](request, fds)
        except Exception:
            print_exception()

    def say(self, message: Json) -> None:
        """To the daemon, when there is one. One that does not read is over: it connects again."""
        if self._daemon is None:
            return
        try:
            wire.send(self._daemon, message)
        except OSError:
            print_exception()
            self._gone()

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
        for container in list(self.containers()):
            self._end_if_gone(container)
        if self.containers():
            self._loop.after(_LOOK_EVERY, self._alone)
        else:
            self.quit()

    def _end_if_gone(self, container: str) -> None:
        try:
            os.stat(f"containers/{container}", dir_fd=self._place)
        except FileNotFoundError:
            self.end(container)
        except OSError:  # unknown: it is looked for again
            print_exception()


def serve(daemon: int, make: Callable[[], LongLived]) -> NoReturn:
    """The whole of such a process; `daemon` is the descriptor of the connection of the daemon that asked for it.

    What it reads comes from outside, so it has no capability from the first byte on: `make` is done with them.
    """
    status = 1
    try:
        server = make()
        caps.capset((), (), ())
        server.adopt(socket.socket(fileno=daemon))
        server.run()
        status = 0
    except BaseException:
        print_exception()
    os._exit(status)


def _listen(place: int, name: str) -> socket.socket:
    """Where daemons connect, in place of what an earlier process left there."""
    try:
        os.unlink(name, dir_fd=place)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    os.fchmod(listener.fileno(), 0o600)  # its file's mode: there is no moment in which it is open to others
    listener.bind(f"/proc/self/fd/{place}/{name}")  # a socket's path must not be longer than 107 bytes
    listener.listen(4)
    listener.setblocking(False)
    return listener
