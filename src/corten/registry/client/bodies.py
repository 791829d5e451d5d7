"""Bodies of responses, bounded."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import aiohttp

from corten.errors import Failed, Unavailable
from corten.registry.client import errors
from corten.registry.client.codings import Decoder
from corten.registry.client.errors import Refusal
from corten.registry.client.pace import Pace

_NEXT = re.compile(r'<([^<>]*)>[^,<>]*;\s*rel="?next\b')
_MAX_ERROR = 64 << 10


async def read_at_most(response: aiohttp.ClientResponse, limit: int, as_sent: bool = False) -> bytes:
    """The whole body, decoded, but for a blob's: that is wanted `as_sent`.

    Raises Failed when it is larger than `limit` bytes or cannot be decoded, Unavailable when it comes too slowly.
    """
    body, pace = bytearray(), Pace()
    decoder = Decoder(() if as_sent else response.headers.getall("Content-Encoding", ()))
    async for chunk in response.content.iter_any():
        body += decoder.decode(chunk, limit + 1 - len(body))
        pace.took(len(chunk))
        if len(body) > limit:
            raise Failed(f"registry answer is larger than {limit} bytes")
    decoder.end()
    return bytes(body)


def next_page(link: str, rest: str) -> str:
    """The query of the next page, as the header `Link` says it (RFC 8288); "" for none, and for one that is not a page
    of `rest`: a registry does not choose what else is asked for."""
    for found in _NEXT.finditer(link):
        url = urlsplit(found[1])
        if url.query and unquote(url.path).endswith(f"/{rest}"):
            return url.query
    return ""


async def refusal_of(response: aiohttp.ClientResponse) -> Refusal:
    """The error in a response; closes it."""
    body, pace = bytearray(), Pace()
    try:
        decoder = Decoder(response.headers.getall("Content-Encoding", ()))
        async for chunk in response.content.iter_any():
            body += decoder.decode(chunk, _MAX_ERROR - len(body))
            pace.took(len(chunk))
            if len(body) >= _MAX_ERROR:
                break
    except (aiohttp.ClientError, TimeoutError, Unavailable, Failed):
        body.clear()  # its status says enough
    finally:
        response.close()
    return errors.refusal(response.status, response.headers, bytes(body))
