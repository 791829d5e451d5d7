"""What clients send: never waited for without an end, and never larger than what was sent.

Bodies are taken as they are: none is decompressed, which would let a few bytes stand for any number. A client that
says that one is encoded is refused (RFC 9110, 15.5.16).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

from aiohttp import web

from corten.registry.server.answers import Refusal
from corten.units.durations import in_go

IDLE = 300.0  # seconds
_PLAIN = {"Accept-Encoding": "identity"}


def check_coding(request: web.Request) -> None:
    """Raises Refusal for a body with a Content-Encoding."""
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity") and request.body_exists:
        raise Refusal(415, "UNSUPPORTED", f"bodies are taken without Content-Encoding {coding}", _PLAIN)


async def pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it comes. Raises Refusal when nothing comes for `IDLE` seconds."""
    while piece := await _in_time(request.content.readany()):
        yield piece


async def whole(request: web.Request, what: str, limit: int) -> bytes:
    """A small body. Raises Refusal when it is larger than `limit` bytes, or nothing comes for `IDLE` seconds."""
    found: list[bytes] = []
    size = 0
    async for piece in pieces(request):
        size += len(piece)
        if size > limit:
            raise Refusal(413, "SIZE_INVALID", f"{what} is at most {limit} bytes")
        found.append(piece)
    return b"".join(found)


async def _in_time(reading: Awaitable[bytes]) -> bytes:
    try:
        async with asyncio.timeout(IDLE):
            return await reading
    except TimeoutError:
        raise Refusal(408, "BLOB_UPLOAD_INVALID", f"nothing came for {in_go(IDLE)}") from None
