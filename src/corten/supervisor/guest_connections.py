"""Connections of the host's to ports of a guest's own loopback: a socket on either side, and a stream between."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress

from corten.errors import CortenError
from corten.supervisor.guest_network import Ask
from corten.vm.channel import Channel
from corten.vm.connection import Connection
from corten.vm.frames import STDIN, STDOUT


class GuestConnections:
    """`hang_up` tells the agent that what it sends on a stream is of no use any more, when it is still there."""

    def __init__(self, ask: Ask, hang_up: Callable[[int], object]) -> None:
        self._ask, self._hang_up = ask, hang_up
        self._open: dict[int, Connection] = {}

    def dial(self, channel: Channel, stream: int, port: int, connection: int) -> None:
        """See `Instance.dial`. What the guest sends has to be expected before it is asked: its program may be first."""
        sock = socket.socket(fileno=os.dup(connection))
        made = Connection(
            channel, stream, sock, (STDOUT, STDIN), lambda: self._gone(stream), lambda: self._unread(stream)
        )
        self._open[stream] = made
        try:
            self._ask("connect", stream=stream, port=port)
        except BaseException:
            self._unread(stream)  # it may come later all the same
            made.end()
            raise
        made.begin()

    def _unread(self, stream: int) -> None:
        with suppress(CortenError):  # the guest is gone, and its connections with it
            self._hang_up(stream)

    def _gone(self, stream: int) -> None:
        self._open.pop(stream, None)

    def end(self) -> None:
        for connection in list(self._open.values()):
            connection.end()
