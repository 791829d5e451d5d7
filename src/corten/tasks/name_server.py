"""The process that answers containers' questions about names (`supervisor.names`), seen from the daemon: found or
started, sent what changes, and reported when it has exited."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from corten.errors import CortenError
from corten.spec.json import Json
from corten.supervisor import wire
from corten.supervisor.names.server import SOCKET, VERSION
from corten.tasks.answers import answer
from corten.tasks.launcher import Launcher
from corten.tasks.outgoing import Outgoing

log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds until it has said something


class LauncherNameServer:
    """`network.resolver.NameServer`."""

    def __init__(self, launcher: Launcher, exec_root: Path, resolv_conf: Path) -> None:
        self._launcher, self._root, self._resolv_conf = launcher, exec_root, resolv_conf
        self._out: Outgoing | None = None
        self._reaching = asyncio.Lock()
        self._on_lost: Callable[[], None] = lambda: None

    @property
    def reached(self) -> bool:
        return self._out is not None

    async def reach(self, start: bool, on_lost: Callable[[], None]) -> Collection[str] | None:
        async with self._reaching:
            if self._out is not None:
                return None
            place = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                connection = _existing(place)
                served = await _hello(connection) if connection is not None else None
                if served is None and start:
                    connection = self._start(place)
                    served = await _hello(connection)
            finally:
                os.close(place)
            if connection is None or served is None:
                return None
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            # One that misses a message would answer wrongly.
            self._out, self._on_lost = Outgoing(connection, broken=self._ended, late=self._ended), on_lost
            asyncio.get_running_loop().add_reader(connection.fileno(), self._ended)
            return served

    def _start(self, place: int) -> socket.socket:
        return self._launcher.connect({"do": "serve names", "resolv_conf": str(self._resolv_conf)}, [place])

    def send(self, message: Json, fds: Sequence[int] = ()) -> None:
        if self._out is None:
            return
        try:
            self._out.send(message, fds)
        except OSError as error:
            log.warning("the name server does not listen: %s", error)
            self._ended()

    def _ended(self) -> None:
        """It never says anything, so this is its end."""
        if self._out is not None:
            log.warning("the name server is gone")
            self.close()
            self._on_lost()

    def close(self) -> None:
        if self._out is not None:
            asyncio.get_running_loop().remove_reader(self._out.socket.fileno())
            self._out.close()
            self._out.socket.close()
            self._out = None


def _existing(place: int) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        connection.connect(f"/proc/self/fd/{place}/{SOCKET}")
    except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):  # the last: it takes no connections any more
        connection.close()
        return None
    return connection


async def _hello(connection: socket.socket) -> Collection[str] | None:
    """IDs of the containers it serves; None when it is shutting down, or, after it gets `quit`, of another version."""
    try:
        hello, _ = await answer(connection, wire.Decoder(), _PATIENCE)
    except (OSError, CortenError, wire.ProtocolError) as error:
        connection.close()
        log.warning("no name server: %s", error)
        return None
    if hello.get("version") != VERSION:
        with connection, suppress(OSError):  # one that reads nothing ends with the connection, or not at all
            wire.send(connection, {"do": "quit"})
        return None
    return [str(container) for container in hello["containers"]]
