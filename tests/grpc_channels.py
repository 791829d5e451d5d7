"""Both ends of a gRPC connection, in one process."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from corten.http2.channel import Channel, over_socket
from corten.http2.connection import Connection
from corten.http2.grpc import Function, Serving


@asynccontextmanager
async def connected(functions: Mapping[str, Function]) -> AsyncIterator[Channel]:
    """A client of a server that has these functions."""
    ours, theirs = socket.socketpair()
    serving = Serving(functions)
    server = await over_socket(theirs.detach(), b"", Connection(client=False), serving.on_stream)
    client = await over_socket(ours.detach(), b"", Connection(client=True))
    try:
        yield client
    finally:
        client.close()
        server.close()
        await serving.close()
