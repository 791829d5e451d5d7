"""What a client sends, and nothing takes: it waits for as long as the client is there.

A connection is not read while what came on it is not taken. Its end is behind all that, and would not be seen.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Awaitable, Callable

_PATIENCE = 30.0  # seconds between two looks: what a client sent last has as many to be taken when it has left


def disconnected(transport: asyncio.BaseTransport | None) -> bool:
    """The client has closed its side, whatever of what it sent has not been read yet (poll(2), POLLRDHUP)."""
    if transport is None or transport.is_closing():
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


async def taken(taking: Awaitable[None], left: Callable[[], bool]) -> None:
    """Wait until it is done. It is cancelled, and ConnectionResetError raised, when the client has `left` meanwhile."""
    task = asyncio.ensure_future(taking)
    try:
        before = False
        while not (await asyncio.wait({task}, timeout=_PATIENCE))[0]:
            if (now := left()) and before:
                raise ConnectionResetError("the client has left, and what it sent is not taken")
            before = now
        task.result()
    finally:
        task.cancel()


def close(writer: asyncio.StreamWriter) -> None:
    """What is still to be written is, as long as the peer takes some of it between two looks."""
    writer.close()
    _look(writer.transport, -1)


def _look(transport: asyncio.WriteTransport, before: int) -> None:
    left = transport.get_write_buffer_size()
    if left == before:
        transport.abort()
    elif left:
        asyncio.get_running_loop().call_later(_PATIENCE, _look, transport, left)
