"""A published UDP port: each client's datagrams come to the container from a socket of their own, and answers go back
from the address that the client had sent to.

Nothing is kept of a datagram: what a buffer has no room for is lost, as UDP is.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from corten.supervisor import reserve
from corten.supervisor.loop import READ, Loop

FLOWS = 1024  # of one port; with one more, the one that was silent for longest is removed
_IDLE = 90.0  # seconds
_LOOK_EVERY = 10.0
_AT_A_TIME = 64  # datagrams, before others get their turn
_LARGEST = 65535
_CONTROL = socket.CMSG_SPACE(20)  # struct in6_pktinfo

_buffer = bytearray(_LARGEST)  # for all: nothing stays in it
_view = memoryview(_buffer)

Address = tuple[str, int]
Peer = tuple[Any, bytes]  # the client's address, and ours as an in6_pktinfo


class DatagramPort:
    """`fd` is of a bound socket for IPv6; `target` is where the container listens."""

    def __init__(self, loop: Loop, fd: int, target: Address) -> None:
        self._loop, self._target = loop, target
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self.connections: dict[Peer, Flow] = {}  # the one that was silent for longest first
        self._looking = False
        loop.watch(self._socket.fileno(), READ, self._ready)

    def stop(self) -> None:
        """The port is free when this returns. Idempotent."""
        self.close()

    def close(self) -> None:
        """Idempotent."""
        if self._socket.fileno() >= 0:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
        for peer in list(self.connections):
            self._forget(peer)

    def _ready(self, _: int) -> None:
        for _ in range(_AT_A_TIME):
            try:
                size, control, _, address = self._socket.recvmsg_into([_buffer], _CONTROL)
            except OSError:  # there is none left
                return
            flow = self._flow((address, _ours(control)))
            if flow is not None:
                flow.send(_view[:size])

    def _flow(self, peer: Peer) -> Flow | None:
        """That peer's; None when no socket can be had for it."""
        flow = self.connections.pop(peer, None)
        if flow is None:
            if len(self.connections) >= FLOWS:
                self._forget(next(iter(self.connections)))
            try:
                flow = Flow(self._loop, self._socket, peer, self._target)
            except OSError:
                return None
        self.connections[peer] = flow
        flow.used = time.monotonic()
        if not self._looking:
            self._look()
        return flow

    def _look(self) -> None:
        """Remove flows without a datagram, either way, for `_IDLE`."""
        limit = time.monotonic() - _IDLE
        for peer in [peer for peer, flow in self.connections.items() if flow.used < limit]:
            self._forget(peer)
        self._looking = bool(self.connections)
        if self._looking:
            self._loop.after(_LOOK_EVERY, self._look)

    def _forget(self, peer: Peer) -> None:
        self.connections.pop(peer).close()


class Flow:
    """One client's way to the container and back. `used` is when it was last, either way."""

    def __init__(self, loop: Loop, port: socket.socket, peer: Peer, target: Address) -> None:
        self._loop, self._port, self._peer = loop, port, peer
        self.used = 0.0
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            reserve.check(self._socket.fileno())
            self._socket.connect(target)
        except BaseException:
            self._socket.close()
            raise
        loop.watch(self._socket.fileno(), READ, self._ready)

    def send(self, datagram: memoryview) -> None:
        try:
            self._socket.send(datagram)
        except OSError:
            return  # no room, or refused: it is lost

    def _ready(self, _: int) -> None:
        for _ in range(_AT_A_TIME):
            try:
                size = self._socket.recv_into(_buffer)
            except OSError:  # there is none left, or the last one was refused
                return
            self.used = time.monotonic()
            self._answer(_view[:size])

    def _answer(self, datagram: memoryview) -> None:
        address, ours = self._peer
        control = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, ours)] if ours else []
        try:
            self._port.sendmsg([datagram], control, 0, address)
        except OSError:
            return  # no room, or no way to it: it is lost

    def close(self) -> None:
        self._loop.forget(self._socket.fileno())
        self._socket.close()


def _ours(control: list[tuple[int, int, bytes]]) -> bytes:
    """The address that a datagram was sent to, to send from. A link-local one is of one device; others are not, and
    the answer takes the way that its address has (ipv6(7))."""
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            link_local = data[0] == 0xFE and data[1] & 0xC0 == 0x80
            return data if link_local else data[:16] + bytes(4)
    return b""
