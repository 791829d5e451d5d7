"""Where the registry listens."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from aiohttp import web

from corten.http.accepting import Accepting
from corten.registry.server.connection import RegistryConnection

_BACKLOG = 128


class Site(web.BaseSite):
    """aiohttp's TCPSite, but for how connections are taken, and how large and slow a head may be."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(runner, ssl_context=tls)
        self._where = host, port

    @property
    def name(self) -> str:
        return "{}:{}".format(*self._where)

    async def start(self) -> None:
        await super().start()
        server, loop = self._runner.server, asyncio.get_running_loop()
        assert server is not None, "the runner is set up"

        def connection() -> RegistryConnection:
            return RegistryConnection(server, loop=loop, access_log=None)

        bound = await loop.create_server(connection, *self._where, start_serving=False)
        sockets = [sock.dup() for sock in bound.sockets]
        bound.close()
        for sock in sockets:
            sock.listen(_BACKLOG)
        self._server = cast(asyncio.AbstractServer, Accepting(sockets, connection, self._ssl_context))
