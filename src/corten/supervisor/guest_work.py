"""Work about the tree of a guest's container, between frames and the descriptors that came with the request."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from corten.errors import Corrupt, CortenError
from corten.supervisor import wire
from corten.supervisor.loop import READ, Loop
from corten.vm import answers
from corten.vm.channel import Channel, Sink
from corten.vm.frames import DATA

Json = dict[str, Any]
_MOST_REPLIES = 2  # what was found, and whether all of it was sent


class GuestWork:
    """`corten.instance.contract.Work`. `shows`: its first answer is the status of a file. `end_it` asks the guest for
    its end."""

    def __init__(
        self,
        loop: Loop,
        channel: Channel,
        stream: int,
        reply: int,
        shows: bool,
        end_it: Callable[[], object],
        over: Callable[[int], bool],
    ) -> None:
        self._loop, self._channel, self._stream = loop, channel, stream
        self._end_it, self._over = end_it, over
        self.ended = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._reply = socket.socket(fileno=os.dup(reply))
        self._replies, self._shows = 0, shows
        self._sink: Sink | None = None
        loop.watch(self._reply.fileno(), READ, self._hangs_up)

    def receive(self, data: int) -> None:
        self._sink = self._channel.sink(DATA, self._stream, reopened(data, os.O_WRONLY))

    def _hangs_up(self, _: int) -> None:
        """Nothing may come on it: the other side is closed."""
        self._loop.forget(self._reply.fileno())
        self.end()

    def reply(self, message: Json) -> None:
        """Corrupt for more than any work answers, and for less than this one does."""
        self._replies += 1
        if self._replies > _MOST_REPLIES:
            raise Corrupt(f"work {self._stream} has more than {_MOST_REPLIES} answers")
        if self._shows and self._replies == 1 and "ok" in message:
            answers.check_status(message["ok"])
        data = wire.frame(message, ())
        try:
            sent = self._reply.send(data, socket.MSG_DONTWAIT)
        except OSError:
            sent = 0
        if sent < len(data):  # it is gone, or does not read: a socket has room for both
            self.end()

    def ends(self) -> None:
        """The guest's word, or that of the guest's end. What it has sent is still written."""
        self._forget()
        if self._sink:
            self._sink.end()
            self._sink.then(self._done)
        else:
            self._done()

    def _done(self) -> None:
        self._reply.close()
        if self.ended >= 0:
            os.eventfd_write(self.ended, 1)

    def _forget(self) -> None:
        if self._reply.fileno() >= 0:
            self._loop.forget(self._reply.fileno())

    def end(self) -> None:
        if self._over(self._stream):
            return
        if self._sink:
            self._sink.close()
        try:
            self._end_it()
        except CortenError:  # the guest is gone, which ends it as well
            pass

    def reap(self) -> None:
        self.discard()

    def discard(self) -> None:
        self._forget()
        self._reply.close()
        if self._sink:
            self._sink.close()
        if self.ended >= 0:
            os.close(self.ended)
            self.ended = -1


def reopened(fd: int, flags: int) -> int:
    """The pipe behind the caller's descriptor, with modes of its own: what is set here is not set there. A socket is
    duplicated. -1 for -1."""
    if fd < 0:
        return -1
    try:
        return os.open(f"/proc/self/fd/{fd}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # ENXIO: a socket
        return os.dup(fd)
