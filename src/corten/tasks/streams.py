"""A client's raw connection, as long as the daemon holds its descriptor."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress


async def send(fd: int, data: bytes) -> None:
    """All of `data` to a client's socket that stays open. ConnectionError when the client has gone."""
    sock = socket.socket(fileno=os.dup(fd))
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(sock, data)
    finally:
        sock.close()


def hang_up(fd: int) -> None:
    """End a client's connection, whichever processes have a descriptor of it."""
    with socket.socket(fileno=os.dup(fd)) as connection, suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
