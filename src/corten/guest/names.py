"""The name server of a guest, 127.0.0.11: it knows nothing and relays. Questions go to the host as DNS frames, which
answers them as those of a container."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from corten.supervisor.loop import READ, Loop
from corten.supervisor.names.service import Client
from corten.vm import frames
from corten.vm.channel import Channel

ADDRESS = ("127.0.0.11", 53)
_LARGEST = 4096  # bytes of a question
_AT_A_TIME = 64
_IN_FLIGHT = 256  # questions; the oldest is given up for a new one, and asked again as with every lost datagram
_CLIENTS = 64  # connections; more are closed

Send = Callable[[bytes], None]


class Names:
    """`channel` is set by its maker before `serve`."""

    channel: Channel

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._number = 0
        self._asked: dict[int, Send] = {}
        self._clients: set[Client] = set()
        self._udp: socket.socket | None = None

    def serve(self) -> None:
        """Nothing happens when it does already."""
        if self._udp is not None:
            return
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._udp.bind(ADDRESS)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind(ADDRESS)
        tcp.listen(64)
        self._loop.watch(self._udp.fileno(), READ, self._datagrams)
        self._loop.accept(tcp, self._came)

    def _datagrams(self, _: int) -> None:
        assert self._udp is not None
        for _ in range(_AT_A_TIME):
            try:
                message, peer = self._udp.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            self._ask(message, False, partial(self._send, peer))

    def _send(self, peer: tuple[str, int], reply: bytes) -> None:
        assert self._udp is not None
        try:
            self._udp.sendto(reply, peer)
        except OSError:
            return  # its buffer is full, or it is gone: it asks again

    def _came(self, connection: socket.socket) -> None:
        if len(self._clients) >= _CLIENTS:
            connection.close()
            return
        self._clients.add(Client(self._loop, connection, self._ask, self._clients.discard))

    def _ask(self, message: bytes, tcp: bool, send: Send) -> None:
        self._number = (self._number + 1) & 0x7FFFFFFF
        if len(self._asked) >= _IN_FLIGHT:
            del self._asked[next(iter(self._asked))]
        self._asked[self._number] = send
        self.channel.put(frames.frame(frames.DNS, self._number, message))

    def answered(self, number: int, reply: bytes) -> None:
        if send := self._asked.pop(number, None):
            send(reply)
