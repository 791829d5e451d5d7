"""What a machine sends to one port of UDP, read from its own tap, and answered there.

So no port of this host is taken and no other program is in the way. A filter in the kernel (cBPF) passes on nothing
else.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Callable, Sequence

from corten.kernel import tap
from corten.supervisor.loop import READ, Loop

_ETH_P_ALL, _SO_ATTACH_FILTER = 3, 26  # all: a bridge takes its ports' packets before those of one protocol
_LARGEST = 2048  # bytes of a frame
OTHERS = 4  # PACKET_OUTGOING: what this host sends to the machine


class TapSockets:
    """On the taps of one machine's interfaces. One is closed when its device is deleted."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._sockets: set[socket.socket] = set()

    def add(self, device: int, port: int, came: Callable[[socket.socket, bytes], None]) -> None:
        """`device` is the tap of one interface; `came` gets the socket to answer by, and a frame. Its OSError is that
        of a device that is down: the machine asks again."""
        listening = listen(tap.name_of(device), port)
        self._sockets.add(listening)

        def read(_: int) -> None:
            try:
                frame, (_, _, kind, *_) = listening.recvfrom(_LARGEST)
                if kind != OTHERS:
                    came(listening, frame)
            except OSError:
                if not listening.getsockname()[0]:  # it was deleted
                    self._forget(listening)

        self._loop.watch(listening.fileno(), READ, read)

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
