"""The registry's connections: what is no request is answered with the specification's error body."""

from __future__ import annotations

import asyncio
import ssl

from aiohttp import web

from corten.registry.server.answers import Refusal
from corten.spec.http_heads import BoundedHeads


class RegistryConnection(BoundedHeads):
    def error_answer(self, status: int, text: str) -> web.Response:
        return Refusal(status, "UNSUPPORTED" if status < 500 else "UNKNOWN", text).answer()


class Site(web.BaseSite):
    """Where a runner's server listens; `web.TCPSite` with these connections."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(runner, ssl_context=tls)
        self._host, self._port = host, port

    @property
    def name(self) -> str:
        return f"{'https' if self._ssl_context else 'http'}://{self._host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        manager = self._runner.server
        assert manager is not None
        loop = asyncio.get_running_loop()

        def connection() -> RegistryConnection:
            return RegistryConnection(manager, loop=loop, access_log=None)

        self._server = await loop.create_server(
            connection, self._host, self._port, ssl=self._ssl_context, backlog=self._backlog
        )
