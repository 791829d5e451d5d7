"""Peers that never stop sending: others have their turn."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

import corten
from corten.aio.turns import receive


async def test_what_is_there_already_is_not_read_at_once() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    order: list[str] = []
    with ours, theirs:
        theirs.sendall(b"text")
        asyncio.get_running_loop().call_soon(order.append, "other")
        assert await receive(ours, 100) == b"text"
        order.append("read")
        theirs.close()
        assert await receive(ours, 100) == b""
    assert order == ["other", "read"]


def test_every_loop_over_a_socket_reads_so() -> None:
    """asyncio's own gives way only where there is nothing."""
    package = Path(corten.__file__).parent
    found = [path for path in package.rglob("*.py") if re.search(r"\.sock_recv(_into)?\(", path.read_text())]
    assert [path.relative_to(package).as_posix() for path in found] == ["aio/turns.py"]
