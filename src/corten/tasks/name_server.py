"""The process that answers containers' questions about names (`supervisor.names`), seen from the daemon: found or
started, told what changes, and heard of when it is gone."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from corten.errors import Unavailable
from corten.supervisor import wire
from corten.supervisor.names.server import SOCKET, VERSION
from corten.tasks.launcher import Launcher, readable

Json = dict[str, Any]
log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds until it has said something
_STUCK = 1.0  # seconds; it reads at once, so one that does not is as good as dead


class LauncherNameServer:
    """`network.naming.NameServer`."""

    def __init__(self, launcher: Launcher, exec_root: Path, resolv_conf: Path) -> None:
        self._launcher, self._root, self._resolv_conf = launcher, exec_root, resolv_conf
        self._socket: socket.socket | None = None
        self._reaching = asyncio.Lock()
        self.on_lost: Callable[[], None] = lambda: None

    @property
    def reached(self) -> bool:
        return self._socket is not None

    async def reach(self, start: bool) -> Collection[str] | None:
        async with self._reaching:
            if self._socket is not None:
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
            connection.settimeout(_STUCK)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            self._socket = connection
            asyncio.get_running_loop().add_reader(connection.fileno(), self._ended)
            return served

    def _start(self, place: int) -> socket.socket:
        return self._launcher.connect({"do": "serve names", "resolv_conf": str(self._resolv_conf)}, [place])

    def tell(self, message: Json, fds: Sequence[int] = ()) -> None:
        if self._socket is None:
            return
        try:
            wire.send(self._socket, message, list(fds))
        except OSError as error:
            log.warning("the name server does not listen: %s", error)
            self._ended()

    def _ended(self) -> None:
        """It never says anything, so this is its end."""
        if self._socket is not None:
            log.warning("the name server is gone")
            self.close()
            self.on_lost()

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None


def _existing(place: int) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(f"/proc/self/fd/{place}/{SOCKET}")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


async def _hello(connection: socket.socket) -> Collection[str] | None:
    """Whom it serves; None when it is on its way out, or of another version: then it is told to end."""
    connection.setblocking(False)
    decoder = wire.Decoder()
    try:
        async with asyncio.timeout(_PATIENCE):
            while (frame := decoder.next()) is None:
                await readable(connection)
                if not wire.receive(connection, decoder):
                    raise Unavailable("the name server ended without a word; see launcher.log")
    except (TimeoutError, OSError, Unavailable, wire.ProtocolError) as error:
        connection.close()
        log.warning("no name server: %s", error)
        return None
    hello, _ = frame
    if hello.get("version") != VERSION:
        connection.setblocking(True)
        wire.send(connection, {"do": "quit"})
        connection.close()
        return None
    return [str(container) for container in hello["containers"]]
