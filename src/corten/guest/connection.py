"""Connections of the host's to ports of the guest's own loopback, where its container listens."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from corten.errors import Failed
from corten.supervisor.loop import WRITE, Loop
from corten.vm.channel import Channel
from corten.vm.connection import Connection
from corten.vm.frames import STDIN, STDOUT

_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_MOST = 1024  # at a time

Done = Callable[[Exception | None], None]


class Connections:
    """By the number of their stream."""

    def __init__(self, loop: Loop, channel: Channel) -> None:
        self._loop, self._channel = loop, channel
        self._open: dict[int, Connection | Attempt] = {}

    def connect(self, stream: int, port: int, done: Done) -> None:
        """`done` is called when it is there, or cannot be: what listens may be busy."""
        if len(self._open) >= _MOST:
            done(Failed(f"there are {_MOST} connections to ports of this guest already"))
            return

        def tried(sock: socket.socket | None, reason: str) -> None:
            del self._open[stream]
            if sock is None:
                done(Failed(reason))
                return
            sides = (STDIN, STDOUT)
            made = self._open[stream] = Connection(self._channel, stream, sock, sides, lambda: self._gone(stream))
            done(None)
            made.begin()

        attempt = self._open[stream] = Attempt(self._loop, port, tried)
        attempt.begin()

    def _gone(self, stream: int) -> None:
        self._open.pop(stream, None)

    def end(self, stream: int) -> None:
        """Nothing happens when it has ended."""
        if (found := self._open.get(stream)) is not None:
            found.end()


class Attempt:
    """To connect, by IPv4 first. `tried` gets a socket, or why there is none: what IPv4 said."""

    def __init__(self, loop: Loop, port: int, tried: Callable[[socket.socket | None, str], None]) -> None:
        self._loop, self._port, self._tried = loop, port, tried
        self._left = [*_LOOPBACK]
        self._reason = 0
        self._socket: socket.socket | None = None

    def begin(self) -> None:
        while self._left:
            family, address = self._left.pop(0)
            try:
                made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            except OSError as error:  # a kernel without IPv6
                self._reason = self._reason or error.errno or 0
                continue
            code = made.connect_ex((address, self._port))
            if code == errno.EINPROGRESS:
                self._socket = made
                self._loop.watch(made.fileno(), WRITE, lambda _: self._answered())
                return
            if self._is_there(made, code):
                return
        self._tried(None, os.strerror(self._reason).lower())

    def _answered(self) -> None:
        made, self._socket = self._socket, None
        assert made is not None
        self._loop.forget(made.fileno())
        if not self._is_there(made, made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            self.begin()

    def _is_there(self, made: socket.socket, code: int) -> bool:
        if not code:
            self._tried(made, "")
            return True
        made.close()
        self._reason = self._reason or code
        return False

    def end(self) -> None:
        self._left = []
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._tried(None, "it was given up")
