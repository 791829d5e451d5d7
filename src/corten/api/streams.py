"""Answers that go on: chunked, each piece sent at once, errors in the stream once it has begun."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from corten.aio.sources import closing
from corten.api.call import HEADERS, Call, encode_line
from corten.api.errors import message
from corten.errors import CortenError

log = logging.getLogger(__name__)
_WHOLE = 1 << 20  # bytes that are kept back


class StartedResponse(web.StreamResponse):
    """An answer whose head has been sent; its connection can be cut."""

    connection: asyncio.Transport | None = None


async def begin(call: Call, content_type: str, headers: Mapping[str, str] | None = None) -> web.StreamResponse:
    """Send the head now, so that the client gets an answer at once."""
    answer = StartedResponse(headers={"Content-Type": content_type, **HEADERS, **(headers or {})})
    answer.connection = call.request.transport
    await answer.prepare(call.request)
    return answer


async def pieces(answer: web.StreamResponse, source: AsyncIterator[bytes]) -> web.StreamResponse:
    """Send all of `source`.

    An error in it cuts the connection: the head is sent, so there is no other way to report it.
    """
    try:
        async with closing(source):
            async for piece in source:
                await answer.write(piece)
    except (CortenError, OSError) as error:
        log.warning("an answer was cut short: %s", error)
        if isinstance(answer, StartedResponse) and isinstance(answer.connection, asyncio.WriteTransport):
            answer.connection.abort()
        raise ConnectionAbortedError(str(error)) from error
    await answer.write_eof()
    return answer


async def whole_or_pieces(call: Call, content_type: str, source: AsyncIterator[bytes]) -> web.StreamResponse:
    """All of `source`. As long as it is small it is an answer by itself, and an error in it is a plain error."""
    start = bytearray()
    async for piece in source:
        start += piece
        if len(start) > _WHOLE:
            answer = await begin(call, content_type)
            await answer.write(start)
            return await pieces(answer, source)
    return web.Response(body=bytes(start), content_type=content_type)


async def progress(call: Call, source: AsyncIterator[object]) -> web.StreamResponse:
    """Docker's JSON messages, one a line. An error before the first is a plain error; after it, it is a message."""
    async with closing(source):
        first = await anext(source, None)
        answer = await begin(call, "application/json")
        if first is not None:
            await answer.write(encode_line(first))
        try:
            async for item in source:
                await answer.write(encode_line(item))
        except (CortenError, OSError) as error:
            if isinstance(error, ConnectionError):
                raise
            text = message(error)
            await answer.write(encode_line({"errorDetail": {"message": text}, "error": text}))
        await answer.write_eof()
    return answer
