"""Addresses for a machine by DHCP, on its own tap alone: each interface has one client, and one address that is fixed.

Answers go to the tap directly, so no port of this host is taken and no other program's DHCP is in the way. A filter in
the kernel (cBPF) passes nothing on but what goes to port 67.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Callable, Sequence

from corten.kernel import tap
from corten.spec import dhcp
from corten.spec.dhcp import Lease
from corten.supervisor.loop import READ, Loop

_ETH_P_ALL, _SO_ATTACH_FILTER = 3, 26  # all: a bridge takes its ports' packets before those of one protocol
OTHERS = 4  # PACKET_OUTGOING: what this host sends to the machine


class Leases:
    """Of the interfaces of one machine."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._sockets: set[socket.socket] = set()

    def add(self, device: int, lease: Lease) -> None:
        """`device` is the tap of one."""
        listening = listen(tap.name_of(device), dhcp.SERVER)
        self._sockets.add(listening)
        self._loop.watch(listening.fileno(), READ, self._asked(listening, lease))

    def _asked(self, listening: socket.socket, lease: Lease) -> Callable[[int], None]:
        def answer(_: int) -> None:
            try:
                frame, (_, _, kind, *_) = listening.recvfrom(2048)
                if kind == OTHERS or (asked := dhcp.parse(frame)) is None:
                    return
                if (said := dhcp.answer(asked, lease)) is not None:
                    listening.send(said)
            except OSError:  # the device is down: the client asks again
                if is_gone(listening):
                    self._forget(listening)

        return answer

    def close(self) -> None:
        for listening in tuple(self._sockets):
            self._forget(listening)

    def _forget(self, listening: socket.socket) -> None:
        self._sockets.discard(listening)
        self._loop.forget(listening.fileno())
        listening.close()


def _filter(port: int) -> Sequence[tuple[int, int, int, int]]:
    """Load, compare, and go on or drop: IPv4, UDP, no fragment, to that port (linux/filter.h)."""
    return (
        (0x28, 0, 0, 12), (0x15, 0, 8, 0x0800), (0x30, 0, 0, 23), (0x15, 0, 6, 17), (0x28, 0, 0, 20),
        (0x45, 4, 0, 0x1FFF), (0xB1, 0, 0, 14), (0x48, 0, 0, 16), (0x15, 0, 1, port), (0x06, 0, 0, 0xFFFF),
        (0x06, 0, 0, 0),
    )  # fmt: skip


def listen(device: str, port: int) -> socket.socket:
    """Frames of a machine's to that port of UDP, for whatever host, before anything on this host has seen them."""
    steps = _filter(port)
    listening = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
        program = struct.pack("HP", len(steps), ctypes.addressof(code))
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        listening.setblocking(False)
        listening.bind((device, _ETH_P_ALL))
    except BaseException:
        listening.close()
        raise
    return listening


def is_gone(listening: socket.socket) -> bool:
    """The network device was deleted."""
    return not listening.getsockname()[0]
