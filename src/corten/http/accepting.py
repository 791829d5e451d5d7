"""Taking connections, also when there is no descriptor left for one.

asyncio's own servers go on trying then, some hundred times a second, and write a traceback each time. Here it is tried
again twice a second, and said once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)
_AT_ONCE = 64  # connections before something else has its turn
_PAUSE = 0.5  # seconds
_SAID = 60.0  # seconds between two lines in the log


class Accepting:
    """A protocol of `factory`'s for each connection to one of `sockets`, which listen and are closed by `close`.

    In the event loop. `tls` is asyncio's own TLS.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        factory: Callable[[], asyncio.BaseProtocol],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.sockets = tuple(sockets)
        self._factory = factory
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._coming: set[asyncio.Task[None]] = set()
        self._said = -_SAID
        for sock in sockets:
            sock.setblocking(False)
            self._watch(sock)

    def _watch(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0:  # not closed meanwhile
            self._loop.add_reader(sock.fileno(), self._ready, sock)

    def _ready(self, sock: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # it stays readable: without a pause there would be nothing but this
                self._say(error)
                self._loop.remove_reader(sock.fileno())
                self._loop.call_later(_PAUSE, self._watch, sock)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._serve(connection))
            self._coming.add(task)
            task.add_done_callback(self._coming.discard)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection, ssl=self._tls)
        except OSError as error:  # of TLS, too
            log.debug("a connection was not made: %s", error)

    def _say(self, error: OSError) -> None:
        if time.monotonic() - self._said >= _SAID:
            self._said = time.monotonic()
            log.error("cannot take connections, which wait until there is room again: %s", error.strerror)

    def close(self) -> None:
        """Take no more. Connections go on."""
        for sock in self.sockets:
            if sock.fileno() >= 0:
                self._loop.remove_reader(sock.fileno())
                sock.close()
