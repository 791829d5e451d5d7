"""Where the registry listens."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from aiohttp import web

from corten.accepting import Accepting

_BACKLOG = 128


class Site(web.BaseSite):
    """aiohttp's TCPSite, but for how connections are taken."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(runner, ssl_context=tls)
        self._where = host, port

    @property
    def name(self) -> str:
        return "{}:{}".format(*self._where)

    async def start(self) -> None:
        await super().start()
        factory = self._runner.server
        assert factory is not None, "the runner is set up"
        bound = await asyncio.get_running_loop().create_server(factory, *self._where, start_serving=False)
        sockets = [sock.dup() for sock in bound.sockets]
        bound.close()
        for sock in sockets:
            sock.listen(_BACKLOG)
        self._server = cast(asyncio.AbstractServer, Accepting(sockets, factory, self._ssl_context))
