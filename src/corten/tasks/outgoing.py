"""Frames on their way to another process. Sending never waits: the event loop has others to serve.

A socket takes a frame at once as long as the process reads. What it does not take is kept here and goes when there is
room, its descriptors with it. A process that reads nothing for `PATIENCE` seconds gets no frame that old any more: who
sent it has been answered by then.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
import termios
from collections import deque
from collections.abc import Callable, Sequence

from corten.spec.json import Json
from corten.supervisor import wire

PATIENCE = 10.0  # seconds that a process gets to read, and to answer, what it has nothing else to do for


class _Frame:
    """What is left of one frame, and its descriptors while none of it is sent: copies, because theirs may be closed."""

    def __init__(self, rest: memoryview, fds: Sequence[int]) -> None:
        self.rest = rest
        self.fds = [os.dup(fd) for fd in fds]
        self.begun = False

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.pop())


class Outgoing:
    """The sending side of a connection, which stays its owner's to close, after this.

    `broken` is called when the other end is found to be gone behind a `send`, `late` when a frame was given up.
    """

    def __init__(
        self,
        connection: socket.socket,
        broken: Callable[[], None] = lambda: None,
        late: Callable[[], None] = lambda: None,
    ) -> None:
        connection.setblocking(False)
        self.socket = connection
        self._broken = broken
        self._late = late
        self._frames: deque[_Frame] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def send(self, message: Json, fds: Sequence[int] = ()) -> None:
        """Send, or have it sent. The descriptors stay the caller's. OSError when the other end is gone."""
        data, sent = memoryview(wire.frame(message, fds)), 0
        if not self._frames:
            try:
                sent = wire.send_some(self.socket, data, fds)
            except BlockingIOError:
                pass
        if sent < len(data):
            self._keep(_Frame(data[sent:], () if sent else fds), begun=sent > 0)

    def _keep(self, frame: _Frame, begun: bool) -> None:
        frame.begun = begun
        self._frames.append(frame)
        self._loop = asyncio.get_running_loop()
        self._loop.add_writer(self.socket.fileno(), self._flush)
        self._loop.call_later(PATIENCE, self._give_up, frame)

    def _flush(self) -> None:
        try:
            while self._frames:
                frame = self._frames[0]
                sent = wire.send_some(self.socket, frame.rest, frame.fds)
                frame.rest, frame.begun = frame.rest[sent:], True
                frame.close()
                if frame.rest:
                    return
                self._frames.popleft()
        except BlockingIOError:
            return
        except OSError:
            self.close()
            self._broken()
            return
        self._stop_writing()

    def _give_up(self, frame: _Frame) -> None:
        """One of which a part is sent has to follow: what came after it would be taken for the rest."""
        if frame.begun or frame not in self._frames:
            return
        self._frames.remove(frame)
        frame.close()
        if not self._frames:
            self._stop_writing()
        self._late()

    def read(self) -> bool:
        """Whether the other end has read all that was sent (unix(7), SIOCOUTQ)."""
        if self._frames:
            return False
        return not int.from_bytes(fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"), sys.byteorder)

    def _stop_writing(self) -> None:
        if self._loop is not None:
            self._loop.remove_writer(self.socket.fileno())

    def close(self) -> None:
        """Send no more. Before the connection is closed."""
        if self.socket.fileno() >= 0:
            self._stop_writing()
        for frame in self._frames:
            frame.close()
        self._frames.clear()
