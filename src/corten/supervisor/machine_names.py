"""A machine's questions about names: what it sends to the address of its network's bridge, by UDP, is asked of the name
server that has its networks (`supervisor.names`), and answered on its own tap.

    guest ── UDP to BRIDGE:53 ──▶ tap ──▶ this ──▶ `asks`, a socket in a namespace of its name server's ──▶ names

The host sees nothing of it: a chain at the tap drops what goes there behind this look (`network.pins`). An answer that
does not fit one frame is cut, as RFC 1035 has it.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import NamedTuple

from corten.spec import udp
from corten.spec.udp import Datagram
from corten.supervisor.loop import READ, Loop
from corten.supervisor.tap_sockets import TapSockets

PORT = 53
_UNDER_WAY = 256  # questions; the oldest is forgotten for one more
_LARGEST = 4096
_HEADER = 12  # bytes of DNS
_CUT = 0x02  # of its third byte


class Asked(NamedTuple):
    """`id` is the guest's own."""

    by: socket.socket
    id: bytes
    question: Datagram


class Names:
    """Of the interfaces of one machine. Takes `asks`."""

    def __init__(self, loop: Loop, asks: int) -> None:
        self._loop = loop
        self._taps = TapSockets(loop)
        self._asked: dict[int, Asked] = {}
        self._number = 0
        self._asks: socket.socket | None = None
        self.ask_by(asks)

    def add(self, device: int, server: str) -> None:
        """`device` is the tap of one, `server` the address of its bridge, which it asks."""
        address = ipaddress.IPv4Address(server).packed

        def came(tap: socket.socket, frame: bytes) -> None:
            question = udp.parse(frame)
            if question is not None and question.target == address and len(question.content) > _HEADER:
                self._ask(tap, question)

        self._taps.add(device, PORT, came)

    def ask_by(self, asks: int) -> None:
        """By this socket, which is taken, from now on."""
        self._forget()
        self._asks = socket.socket(fileno=asks)
        self._asks.setblocking(False)
        self._loop.watch(asks, READ, self._answered)

    def _forget(self) -> None:
        asks, self._asks = self._asks, None
        if asks is not None:
            self._loop.forget(asks.fileno())
            asks.close()
        self._asked.clear()

    def _ask(self, tap: socket.socket, question: Datagram) -> None:
        """OSError when the server has gone: the guest asks again."""
        if self._asks is None:
            return
        self._number = (self._number + 1) & 0xFFFF
        if len(self._asked) >= _UNDER_WAY:
            del self._asked[next(iter(self._asked))]
        self._asked[self._number] = Asked(tap, question.content[:2], question)
        self._asks.send(struct.pack("!H", self._number) + question.content[2:])

    def _answered(self, _: int) -> None:
        assert self._asks is not None
        try:
            answer = self._asks.recv(_LARGEST)
            asked = self._asked.pop(int.from_bytes(answer[:2], "big"), None)
            if asked is None or len(answer) < _HEADER:
                return
            one = asked.question
            content = asked.id + (answer[2:] if len(answer) <= udp.MOST else _cut(answer, one.content))
            back = Datagram(
                b"\x02\x42" + one.target, one.source_mac, one.target, one.source, PORT, one.source_port, content
            )
            asked.by.send(udp.made(back))
        except OSError:
            return

    def close(self) -> None:
        self._forget()
        self._taps.close()


def _cut(answer: bytes, question: bytes) -> bytes:
    """The head, which says that there is more, and the question; both behind the id."""
    at = _HEADER
    while at < len(question) and question[at]:
        at += question[at] + 1
    return bytes((answer[2] | _CUT, answer[3])) + b"\0\1" + bytes(6) + question[_HEADER : at + 5]
