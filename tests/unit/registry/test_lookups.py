"""Names of hosts, looked up at a name server that does not answer."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import aiohttp
import pytest
from yarl import URL

from corten.registry.client.lookups import addresses, connector


async def test_lookups_that_wait_keep_no_thread_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, asked, original = threading.Event(), threading.Semaphore(0), socket.getaddrinfo

    def silent(host: str, *args: Any, **kwargs: Any) -> Any:
        if not host.endswith(".test"):
            return original(host, *args, **kwargs)
        asked.release()
        answered.wait(20)
        raise socket.gaierror("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    async with aiohttp.ClientSession(connector=connector()) as session:
        requests = [asyncio.ensure_future(session.get(f"http://registry{number}.test/v2/")) for number in range(40)]
        try:
            assert await asyncio.wait_for(asyncio.to_thread(asked.acquire, timeout=10), 60)
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 60) == "done"
        finally:
            answered.set()
        failed = await asyncio.gather(*requests, return_exceptions=True)
    assert {type(error) for error in failed} == {aiohttp.ClientConnectorDNSError}


@pytest.mark.parametrize("host", ["\udcff", "a" * 64 + ".test", ".."])
async def test_what_is_no_name_of_a_host_is_not_found(host: str) -> None:
    """A redirect may have anything there."""
    async with aiohttp.ClientSession(connector=connector()) as session:
        with pytest.raises(aiohttp.ClientConnectorDNSError):
            await session.get(URL.build(scheme="http", host=host, path="/", encoded=True))
    assert await addresses(host) == ()
