"""Looking up hosts' names in threads of its own: a name server that does not answer keeps one for half a minute."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import aiohttp

from corten.http import authorities
from corten.registry.client.interim import Connection

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_threads = ThreadPoolExecutor(16, "lookup")


class _Lookups:
    """What aiohttp's resolver asks of an event loop; asyncio's own does it in the threads that everything needs."""

    async def getaddrinfo(self, host: str, port: int, **wanted: Any) -> Any:
        """OSError also for what can be no host's name."""
        work = partial(socket.getaddrinfo, host, port, **wanted)
        try:
            return await asyncio.get_running_loop().run_in_executor(_threads, work)
        except UnicodeError:  # a redirect may have anything there
            raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from None

    async def getnameinfo(self, address: Any, flags: int = 0) -> Any:
        return await asyncio.get_running_loop().run_in_executor(_threads, socket.getnameinfo, address, flags)


def connector() -> aiohttp.TCPConnector:
    """For a session of aiohttp's."""
    resolver = aiohttp.ThreadedResolver(cast(asyncio.AbstractEventLoop, _Lookups()))
    made = aiohttp.TCPConnector(resolver=resolver, ssl=authorities.verifying())
    made._factory = cast(Any, partial(Connection, loop=asyncio.get_running_loop()))  # as BaseConnector makes its own
    return made


async def addresses(name: str) -> tuple[Address, ...]:
    """What a host's name resolves to; nothing when it does not."""
    try:
        found = await _Lookups().getaddrinfo(name, 0, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(ipaddress.ip_address(where[0].partition("%")[0]) for *_, where in found)
