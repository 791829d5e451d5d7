"""A connection that cannot be given away, because TLS is spoken on it, joined to one that can."""

from __future__ import annotations

import asyncio
import socket


class Half(asyncio.Protocol):
    """What comes on one transport goes to `other`, at the pace of its reader. Its end is the other's end."""

    def __init__(self) -> None:
        self.other: asyncio.Transport

    def data_received(self, data: bytes) -> None:
        self.other.write(data)

    def pause_writing(self) -> None:
        self.other.pause_reading()

    def resume_writing(self) -> None:
        self.other.resume_reading()

    def eof_received(self) -> bool:
        """Half-closed where that is possible; asyncio's TLS has no such thing and is closed behind its last byte."""
        if not self.other.can_write_eof():
            self.other.close()
            return False
        self.other.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.other.close()


async def relay(transport: asyncio.Transport, gone: asyncio.Protocol) -> int:
    """Join `transport` to a new unix socket and answer with its other end's descriptor (non-blocking).

    `gone.connection_lost` is called when the connection ends: it belonged to that protocol before.
    """

    class Outer(Half):
        def eof_received(self) -> bool:
            super().eof_received()
            return False  # asyncio warns of True on TLS: it closes in any case

        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            gone.connection_lost(error)

    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    outer, inner = Outer(), Half()
    outer.other, _ = await asyncio.get_running_loop().create_connection(lambda: inner, sock=ours)
    inner.other = transport
    transport.set_protocol(outer)
    transport.resume_reading()
    return theirs.detach()
