"""The daemon's one HTTP client: requests as they are, through a proxy where one is configured, never redirected."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from yarl import URL

import corten
from corten.registry.client.lookups import connector
from corten.registry.client.proxies import Proxies

Tls = ssl.SSLContext | bool  # False: nothing is verified
CONNECT = 30.0  # seconds
STALL = 60.0  # seconds without a byte


class Web:
    """`close` it inside the event loop that used it."""

    def __init__(self, proxies: Proxies, stall: float = STALL) -> None:
        self.proxies = proxies
        self._stall = stall
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        tls: Tls,
        data: Any = None,
        patience: float | None = None,
    ) -> aiohttp.ClientResponse:
        """One response of any status; the caller closes it. Raises aiohttp's errors, TimeoutError, OSError.

        Its head is limited in time as a whole: a byte of it now and then is no answer. With a body that is made while
        it is sent, that limit is the caller's.
        """
        waiting = patience or self._stall
        limit = None if isinstance(data, AsyncIterator) else CONNECT + waiting + min(self._stall, waiting)
        async with asyncio.timeout(limit):
            return await self._open().request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=data,
                ssl=tls,
                allow_redirects=False,
                proxy=self.proxies.of(url),
                timeout=_timeout(waiting),
            )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=connector(),
                auto_decompress=False,  # digests and ranges are of what was sent
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=1 << 20,
                headers={"User-Agent": f"corten/{corten.__version__}", "Accept-Encoding": "identity"},
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _timeout(patience: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=patience)
