"""An archive at an address of the web, for `import`: one GET, redirects followed, the body as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp

from corten.errors import CortenError, Failed, Forbidden, Invalid, NotFound
from corten.registry.client.auth import joined
from corten.registry.client.bodies import refusal_of
from corten.registry.client.errors import connection_error
from corten.registry.client.pace import Pace
from corten.registry.client.urls import completed, is_url
from corten.registry.client.web import Web

_MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)


def address(text: str) -> str:
    """The URL that `text` names, see `completed`. Raises Invalid."""
    url = completed(text)
    if not is_url(url):
        raise Invalid(f"cannot import from {shown(text)!r}: it is no http:// or https:// URL")
    return url


def shown(url: str) -> str:
    """Without the password that it may have."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"[:500] if separator else url[:500]


@asynccontextmanager
async def archive(web: Web, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """The body's pieces. What it is compressed with is the reader's to find out.

    Raises NotFound, Forbidden or Failed for another answer than 200, and for a server that does not answer.
    """
    response = await _found(web, url)
    try:
        if response.status != 200:
            raise _refused(response.status, (await refusal_of(response)).message, url)
        yield _pieces(response, url)
    finally:
        response.close()


async def _found(web: Web, url: str) -> aiohttp.ClientResponse:
    for _ in range(_MAX_REDIRECTS + 1):
        try:
            response = await web.request("GET", url, {}, True)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise connection_error(error, shown(url)) from error
        if response.status not in _REDIRECTS or not response.headers.get("Location"):
            return response
        target = joined(url, response.headers["Location"])
        response.close()
        if urlsplit(target).scheme not in ("http", "https") or (
            url.startswith("https:") and target.startswith("http:")
        ):
            raise Failed(f"{shown(url)} redirects to where it must not: {shown(target)}")
        url = target
    raise Failed(f"{shown(url)} redirects more than {_MAX_REDIRECTS} times")


def _refused(status: int, message: str, url: str) -> CortenError:
    text = f"failed to GET {shown(url)} with status {status}" + (f": {message}" if message else "")
    return {404: NotFound, 403: Forbidden}.get(status, Failed)(text)


async def _pieces(response: aiohttp.ClientResponse, url: str) -> AsyncIterator[bytes]:
    pace = Pace()
    try:
        async for piece in response.content.iter_any():
            pace.took(len(piece))
            yield piece
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise connection_error(error, shown(url)) from error
