"""Reading that gives way: what finds something at once is not waited for, and a peer may never stop sending."""

from __future__ import annotations

import asyncio
import socket


async def receive(sock: socket.socket, most: int) -> bytes:
    """At most so many bytes of a socket that does not block, when others have had their turn; none at its end."""
    await asyncio.sleep(0)
    return await asyncio.get_running_loop().sock_recv(sock, most)
