"""What the receiver of fsutil's transfer says, without a socket: numbers of files that it wants, its end, its error.

The sending itself is `corten.layers.sending`, in a process of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from corten.errors import Failed, Invalid
from corten.http2.grpc import Cut
from corten.spec.protobuf.session import ERROR, FINISH, REQUEST, Packet

_LARGEST = 1 << 20  # bytes of a message: an error's text
_NUMBERS = 1 << 32


class Asking:
    """`feed` what comes; `finished` when the receiver has everything."""

    def __init__(self) -> None:
        self._cut = Cut(_LARGEST)
        self.finished = False

    def feed(self, data: bytes) -> Sequence[int]:
        """The numbers that are asked for. Raises Failed for the receiver's error, Invalid for what it may not say."""
        return [number for message in self._cut.feed(data) for number in self._packet(Packet.decode(message))]

    def _packet(self, packet: Packet) -> Sequence[int]:
        if self.finished:
            raise Invalid("the receiver of an output went on behind its end")
        if packet.type == REQUEST and 0 <= packet.id < _NUMBERS:
            return (packet.id,)
        if packet.type == ERROR:
            raise Failed(f"error from receiver: {packet.data[:1000].decode('utf-8', 'replace')}")
        if packet.type == FINISH:
            self.finished = True
            return ()
        raise Invalid(f"the receiver of an output sent a packet of the type {packet.type}")
