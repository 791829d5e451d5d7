"""A process that outlives the daemon (`supervisor.long_lived`), seen from the daemon: found or started, sent what
changes, and reported when it has exited."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from corten.errors import CortenError
from corten.spec.json import Json
from corten.supervisor import sockets, wire
from corten.tasks.answers import answer
from corten.tasks.launcher import Launcher
from corten.tasks.outgoing import Outgoing

log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds until its hello


class Kind(NamedTuple):
    """What it is called in the log, its socket in the exec root, the version that this daemon speaks, and what the
    launcher is asked for one."""

    what: str
    socket: str
    version: int
    request: Json


def name_server(resolv_conf: Path) -> Kind:
    return Kind(
        "name server", sockets.NAMES, sockets.NAMES_VERSION, {"do": "serve names", "resolv_conf": str(resolv_conf)}
    )


FORWARDER = Kind("forwarder of ports", sockets.FORWARDER, sockets.FORWARDER_VERSION, {"do": "forward ports"})


class LauncherProcess:
    """`network.long_lived.LongLived`."""

    def __init__(self, launcher: Launcher, exec_root: Path, kind: Kind) -> None:
        self._launcher, self._root, self._kind = launcher, exec_root, kind
        self._out: Outgoing | None = None
        self._decoder = wire.Decoder()
        self._reaching = asyncio.Lock()
        self._on_lost: Callable[[], None] = lambda: None
        self._on_event: Callable[[Json], None] = lambda event: None

    @property
    def reached(self) -> bool:
        return self._out is not None

    async def reach(
        self, start: bool, on_lost: Callable[[], None], on_event: Callable[[Json], None] = lambda event: None
    ) -> Json | None:
        async with self._reaching:
            if self._out is not None:
                return None
            place = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                connection = self._existing(place)
                hello = await self._hello(connection) if connection is not None else None
                if hello is None and start:
                    connection = self._launcher.connect(self._kind.request, [place])
                    hello = await self._hello(connection)
            finally:
                os.close(place)
            if connection is None or hello is None:
                return None
            self._on_lost, self._on_event = on_lost, on_event
            self._connected(connection)
            return hello

    def _connected(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        # One that misses a message would do the wrong thing from then on.
        self._out, self._decoder = Outgoing(connection, broken=self._ended, late=self._ended), wire.Decoder()
        asyncio.get_running_loop().add_reader(connection.fileno(), self._said)

    def send(self, message: Json, fds: Sequence[int] = ()) -> None:
        if self._out is None:
            return
        try:
            self._out.send(message, fds)
        except OSError as error:
            log.warning("the %s does not listen: %s", self._kind.what, error)
            self._ended()

    def _said(self) -> None:
        assert self._out is not None
        try:
            alive = wire.receive(self._out.socket, self._decoder)
            while frame := self._decoder.next():
                self._on_event(frame[0])
        except BlockingIOError:
            return
        except (OSError, wire.ProtocolError):
            alive = False
        if not alive:
            self._ended()

    def _ended(self) -> None:
        if self._out is not None:
            log.warning("the %s is gone", self._kind.what)
            self.close()
            self._on_lost()

    def close(self) -> None:
        if self._out is not None:
            asyncio.get_running_loop().remove_reader(self._out.socket.fileno())
            self._out.close()
            self._out.socket.close()
            self._out = None

    def _existing(self, place: int) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            connection.connect(f"/proc/self/fd/{place}/{self._kind.socket}")
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):  # the last: it takes no connections more
            connection.close()
            return None
        return connection

    async def _hello(self, connection: socket.socket) -> Json | None:
        """What it serves; None when it is shutting down, or, after it gets `quit`, of another version."""
        try:
            hello, _ = await answer(connection, wire.Decoder(), _PATIENCE)
        except (OSError, CortenError, wire.ProtocolError) as error:
            connection.close()
            log.warning("no %s: %s", self._kind.what, error)
            return None
        if hello.get("version") != self._kind.version:
            with connection, suppress(OSError):  # one that reads nothing ends with the connection, or not at all
                wire.send(connection, {"do": "quit"})
            return None
        return hello
