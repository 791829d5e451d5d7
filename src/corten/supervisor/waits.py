"""Connections of clients that wait for the end of the run: copies, for when the daemon that has to answer is gone then.

The daemon has sent the head of a chunked answer (HTTP/1.1) on each; what is missing is Docker's {"StatusCode": n}.
"""

from __future__ import annotations

import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.supervisor.connection import Connection

MOST = 16


class Waits:
    """Each connection is answered by the daemon that sent it, as long as that is connected, and by us otherwise."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, Connection | None]] = {}  # by key: descriptor, and who answers

    def hold(self, key: str, fd: int, owner: Connection) -> None:
        """`fd` is ours from now on. ValueError when there are too many, or one of this key. `owner` may have been lost
        since it sent this."""
        if key in self._held or len(self._held) >= MOST:
            raise ValueError(f"{len(self._held)} connections wait for the end already")
        self._held[key] = fd, owner if owner.alive else None

    def release(self, key: str, answer: bool) -> None:
        """Its client has gone or has been answered; or, with `answer`, its daemon is about to go. A key that is not
        known is none any more."""
        fd, _ = self._held.pop(key, (-1, None))
        if fd >= 0 and answer:
            self._held[key] = fd, None
        elif fd >= 0:
            os.close(fd)

    def lost(self, owner: Connection) -> None:
        """The connection of a daemon has ended."""
        for key, (fd, answers) in self._held.items():
            if answers is owner:
                self._held[key] = fd, None

    def end(self, status: int) -> None:
        """The run has ended, and the event is sent to the daemons that are connected."""
        body = b'{"StatusCode":%d}\n' % status
        for fd, answers in self._held.values():
            with socket.socket(fileno=fd) as client:
                if answers is None:
                    _send(client, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        self._held.clear()


def _send(client: socket.socket, data: bytes) -> None:
    """A client that has gone, or that reads nothing, misses it."""
    try:
        client.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        pass
