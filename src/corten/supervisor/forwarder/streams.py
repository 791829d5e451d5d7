"""A published TCP port: each connection to it becomes one to the container, and bytes go both ways.

Nothing of them is kept here. What one side has sent is looked at (MSG_PEEK), sent on, and only what the other side took
is taken out of the kernel's buffer (MSG_TRUNC discards without copying, tcp(7)): while one side does not read, the
other one cannot send. A side that has sent all closes its direction alone; a reset is passed on.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from corten.supervisor import reserve
from corten.supervisor.loop import READ, WRITE, Loop

CONNECTIONS = 1024  # of one port; more wait in the kernel's queue until one ends
_PIECE = 64 << 10  # bytes
_PIECES = 16  # of one connection before others get their turn
_ERROR = 8  # EPOLLERR
_RESET = struct.pack("ii", 1, 0)

_buffer = bytearray(_PIECE)  # for all: no byte stays in it
_view = memoryview(_buffer)

Address = tuple[str, int]


class StreamPort:
    """`listener` is a listening socket's descriptor; `target` is where the container listens."""

    def __init__(self, loop: Loop, listener: int, target: Address) -> None:
        self._loop, self._target = loop, target
        self._listener = socket.socket(fileno=listener)
        self._listener.setblocking(False)
        self.connections: set[Connection] = set()
        self._full = False  # connections wait until one ends
        loop.accept(self._listener, self._came)

    def stop(self) -> None:
        """No new connections; those that are there go on. The port is free when this returns. Idempotent."""
        if self._listener.fileno() >= 0:
            self._loop.forget(self._listener.fileno())
            self._listener.close()

    def close(self) -> None:
        """The connections end as well. Idempotent."""
        self.stop()
        for connection in list(self.connections):
            connection.close()

    def _came(self, client: socket.socket) -> None:
        try:
            connection = Connection(self._loop, client, self._target, self._gone)
        except OSError as error:  # no descriptor for its other side
            client.close()
            self._full = True
            self._loop.rest(self._listener, error)
            return
        self.connections.add(connection)
        if len(self.connections) >= CONNECTIONS:
            self._full = True
            self._loop.forget(self._listener.fileno())
        connection.begin(self._target)

    def _gone(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if self._full and self._listener.fileno() >= 0:
            self._full = False
            self._loop.accept(self._listener, self._came)


class Way:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, destination: socket.socket) -> None:
        self.source, self.destination = source, destination
        self.ended = False  # all was sent on, and that it is all
        self.blocked = False  # the destination does not read

    def move(self) -> None:
        """As much as goes now. Raises OSError when a side is gone."""
        for _ in range(0 if self.ended else _PIECES):
            try:
                size = self.source.recv_into(_buffer, _PIECE, socket.MSG_PEEK)
            except BlockingIOError:
                return
            if not size:
                self.ended = True
                self.destination.shutdown(socket.SHUT_WR)
                return
            try:
                sent = self.destination.send(_view[:size])
            except BlockingIOError:
                sent = 0
            if sent:
                self.source.recv_into(_buffer, sent, socket.MSG_TRUNC)
            self.blocked = sent < size
            if self.blocked:
                return


class Connection:
    """`gone` is called once, at its end."""

    def __init__(self, loop: Loop, client: socket.socket, target: Address, gone: Callable[[Connection], None]) -> None:
        """Raises OSError when there is no socket for it. `target` decides the family."""
        self._loop, self._client, self._gone = loop, client, gone
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._server = socket.socket(family, socket.SOCK_STREAM)
        try:
            reserve.check(self._server.fileno())
        except OSError:
            self._server.close()
            raise
        self._in, self._out = Way(client, self._server), Way(self._server, client)
        for side in (client, self._server):
            side.setblocking(False)
            side.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def begin(self, target: Address) -> None:
        """It may end at once: the container refuses it, or is gone."""
        try:
            self._server.connect(target)
        except BlockingIOError:
            pass
        except OSError:
            self._reset()
            return
        self._loop.watch(self._server.fileno(), WRITE, self._connected)

    def _connected(self, _: int) -> None:
        if self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._reset()
        else:
            self._watch()

    def _event(self, bits: int, from_here: Way, to_here: Way) -> None:
        """Of one side: it has sent something, or it reads again."""
        try:
            if bits & _ERROR:
                raise ConnectionResetError
            if bits & WRITE:
                to_here.move()
            if bits & ~WRITE:
                from_here.move()
        except OSError:
            self._reset()
            return
        if self._in.ended and self._out.ended:
            self.close()
        else:
            self._watch()

    def _watch(self) -> None:
        self._watch_side(self._client, self._in, self._out)
        self._watch_side(self._server, self._out, self._in)

    def _watch_side(self, side: socket.socket, from_here: Way, to_here: Way) -> None:
        reads = not from_here.ended and not from_here.blocked
        events = (READ if reads else 0) | (WRITE if to_here.blocked else 0)
        if events or not to_here.ended:
            self._loop.watch(side.fileno(), events, lambda bits: self._event(bits, from_here, to_here))
        else:  # both directions are closed, which would be reported again and again
            self._loop.forget(side.fileno())

    def _reset(self) -> None:
        """Both sides see what happened to one of them."""
        for side in (self._client, self._server):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        """Idempotent."""
        if self._client.fileno() >= 0:
            for side in (self._client, self._server):
                self._loop.forget(side.fileno())
                side.close()
            self._gone(self)
