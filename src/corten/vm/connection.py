"""A connected socket as a stream of a channel: what one side's program sends, the other side's gets, and the end of
either direction is the end of that direction there.

    connection = Connection(channel, 7, sock, (STDOUT, STDIN), gone)    # what comes on stream 7 is written to it
    connection.begin()                                                  # and what is read there is sent on stream 7
    connection.end()                                                    # now, whatever is on its way

The socket is its own from the start, and is closed when both directions have ended.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress

from corten.vm.channel import Channel, Source


class Connection:
    """`kinds`: of what comes, and of what is sent. `gone` is called once, when nothing of it is left. `unread`: its
    program takes nothing more, and what the other side sends is lost."""

    def __init__(
        self,
        channel: Channel,
        stream: int,
        sock: socket.socket,
        kinds: tuple[int, int],
        gone: Callable[[], None],
        unread: Callable[[], None] = lambda: None,
    ) -> None:
        self._channel, self._stream, self._socket = channel, stream, sock
        self._takes, self._sends = kinds
        self._gone, self._unread = gone, unread
        self._open = 2
        self._source: Source | None = None
        self._sink = channel.sink(kinds[0], stream, os.dup(sock.fileno()), self._written)

    def begin(self) -> None:
        if self._open:
            self._source = self._channel.source(self._sends, self._stream, os.dup(self._socket.fileno()), self._less)

    def _written(self, whole: bool) -> None:
        if whole:
            with suppress(OSError):  # the other program has closed it
                self._socket.shutdown(socket.SHUT_WR)
        else:
            self._unread()
        self._less()

    def _less(self) -> None:
        if self._open:
            self._open -= 1
            if not self._open:
                self._close()

    def end(self) -> None:
        if self._open:
            self._open = 0
            self._sink.close()
            if self._source is not None:
                self._source.close()
            self._close()

    def _close(self) -> None:
        for kind in (self._takes, self._sends):
            self._channel.drop((kind, self._stream))
        self._socket.close()
        self._gone()
