"""What clients send: never waited for without an end, and never larger than what was sent.

Bodies are taken as they are: none is decompressed, which would let a few bytes stand for any number. A client that
says that one is encoded is refused (RFC 9110, 15.5.16).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

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


async def whole(request: web.Request, what: str, limit: int, held: Callable[[int], None] | None = None) -> bytes:
    """A small body. Raises Refusal when it is larger than `limit` bytes, or nothing comes for `IDLE` seconds.

    It is in memory until it is whole: `held` gets the size of each piece, and at the end that of all, negative.
    """
    found: list[bytes] = []
    size = 0
    try:
        async for piece in pieces(request):
            size += len(piece)
            if held is not None:
                held(len(piece))
            if size > limit:
                raise Refusal(413, "SIZE_INVALID", f"{what} is at most {limit} bytes")
            found.append(piece)
    finally:
        if held is not None:
            held(-size)
    return b"".join(found)


class Held:
    """Bytes of bodies in memory: so many for each account, whatever the number of its connections."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, Counter[str]()

    def of(self, account: str) -> Callable[[int], None]:
        """For `whole`. Raises Refusal for more than the account may have."""

        def count(size: int) -> None:
            self._held[account] += size
            if not self._held[account]:
                del self._held[account]
            elif size > 0 and self._held[account] > self._most:
                raise Refusal(429, "TOOMANYREQUESTS", f"{self._most} bytes of one account's are on their way already")

        return count


async def _in_time(reading: Awaitable[bytes]) -> bytes:
    try:
        async with asyncio.timeout(IDLE):
            return await reading
    except TimeoutError:
        raise Refusal(408, "BLOB_UPLOAD_INVALID", f"nothing came for {in_go(IDLE)}") from None
