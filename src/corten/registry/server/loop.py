"""An event loop that sends files by threads."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from functools import partial
from typing import IO

from corten.aio.threads import run_uncancelled

_PIECE = 16 << 20  # bytes that one thread sends before another file has its turn
_AT_ONCE = 256 << 10  # bytes, as large as fits a processor's cache
_NEAR = 500  # microseconds of a round trip: with 256 KiB for each that is 500 MB a second
_TCPI_RTT = 68  # where it is in struct tcp_info
_PATIENCE = 20  # ms that a thread waits for a client; one that is slower is waited for without


class SendingLoop(asyncio.SelectorEventLoop):
    """asyncio's own gives a file to one sendfile(2) in the loop's thread: as long as that client keeps up with it,
    which may be for gigabytes, no other client is served.
    """

    async def sendfile(
        self,
        transport: asyncio.WriteTransport,
        file: IO[bytes],
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool = True,
    ) -> int:
        """As asyncio's; which does it where something still waits to be sent before, and with TLS."""
        if count is None or transport.get_write_buffer_size() or transport.get_extra_info("sslcontext"):
            return await super().sendfile(transport, file, offset, count, fallback=fallback)
        connection: socket.socket = transport.get_extra_info("socket")
        if _near(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _AT_ONCE)
        client = os.dup(connection.fileno())  # it may be closed meanwhile
        total = 0
        try:
            while total < count:
                piece = min(_PIECE, count - total)
                sent, ended = await run_uncancelled(partial(_send, client, file.fileno(), offset + total, piece))
                total += sent
                if ended:
                    break
                if sent < piece:
                    await self._writable(client)
        finally:
            os.close(client)
        return total

    async def _writable(self, fd: int) -> None:
        ready = asyncio.Event()
        self.add_writer(fd, ready.set)
        try:
            await ready.wait()
        finally:
            self.remove_writer(fd)


def _near(connection: socket.socket) -> bool:
    """Whether a small buffer is enough for any speed: what waits in a large one has left the processor's cache."""
    if connection.family == socket.AF_UNIX:
        return False
    round_trip: int
    (round_trip,) = struct.unpack_from("I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), _TCPI_RTT)
    return round_trip < _NEAR


def _send(client: int, file: int, offset: int, count: int) -> tuple[int, bool]:
    """How many bytes have been sent, fewer to a slow client, and whether the file was shorter than `count`.

    By copies, not by sendfile(2): what has just been read is in the processor's cache, and a client on the same machine
    has it in two thirds of the time.
    """
    waiting = select.poll()
    waiting.register(client, select.POLLOUT)
    buffer = memoryview(bytearray(min(_AT_ONCE, count)))
    sent = 0
    while sent < count:
        filled = os.preadv(file, [buffer[: count - sent]], offset + sent)
        if not filled:
            return sent, True
        begin = 0
        while begin < filled:
            try:
                begin += os.write(client, buffer[begin:filled])
            except BlockingIOError:
                if not waiting.poll(_PATIENCE):
                    return sent + begin, False
        sent += filled
    return sent, False
