"""What is at an address of the web, for `import` and builds: one GET, redirects followed, the body as it comes."""

from __future__ import annotations

import email.utils
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
        raise Invalid(f"cannot fetch {shown(text)!r}: it is no http:// or https:// URL")
    return url


def shown(url: str) -> str:
    """Without the password that it may have."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"[:500] if separator else url[:500]


@dataclass(frozen=True, slots=True)
class Download:
    """`modified` is when the server says that it was changed last, seconds since the epoch, 0 when it does not say."""

    pieces: AsyncIterator[bytes]
    modified: int


@asynccontextmanager
async def archive(web: Web, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """The body's pieces, see `download`. What it is compressed with is the reader's to find out."""
    async with download(web, url) as found:
        yield found.pieces


@asynccontextmanager
async def download(web: Web, url: str) -> AsyncIterator[Download]:
    """The body and its time.

    Raises NotFound, Forbidden or Failed for another answer than 200, and for a server that does not answer.
    """
    response = await _found(web, url)
    try:
        if response.status != 200:
            raise _refused(response.status, (await refusal_of(response)).message, url)
        yield Download(_pieces(response, url), _modified(response.headers.get("Last-Modified", "")))
    finally:
        response.close()


def _modified(value: str) -> int:
    try:
        return max(0, int(email.utils.parsedate_to_datetime(value).timestamp()))
    except (ValueError, TypeError, OverflowError):
        return 0


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
