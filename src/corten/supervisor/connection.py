"""A daemon's connection to a supervisor: frames in, frames out, never waiting."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from corten.supervisor import wire
from corten.supervisor.loop import READ, WRITE, Loop

Json = dict[str, Any]


class Connection:
    """One daemon's connection: frames in, frames out, never waiting."""

    def __init__(self, loop: Loop, sock: socket.socket, received: Callable[[Connection, Json, list[int]], None],
                 lost: Callable[[Connection], None]) -> None:  # fmt: skip
        self._loop = loop
        self._socket = sock
        self._received = received
        self._lost = lost
        self._decoder = wire.Decoder()
        self._out = bytearray()
        self._taking = False  # what has come is done to its end, though its answers cannot be sent
        self.alive = True
        sock.setblocking(False)
        loop.watch(sock.fileno(), READ, self._ready)

    def send(self, message: Json) -> None:
        if self.alive:
            self._out += wire.encode(message)
            self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._loop.watch(self._socket.fileno(), READ | (WRITE if self._out else 0), self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & ~WRITE and self.alive:
            self._taking = True
            try:
                more = wire.receive(self._socket, self._decoder)
                while frame := self._decoder.next():
                    self._received(self, *frame)
            except BlockingIOError:
                return
            except (OSError, wire.ProtocolError):
                more = False
            finally:
                self._taking = False
                if not self.alive:
                    self._decoder.close()
            if not more:
                self.close()

    def close(self) -> None:
        if self.alive:
            self.alive = False
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            if not self._taking:
                self._decoder.close()
            self._lost(self)
