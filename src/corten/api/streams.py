"""Answers that go on: chunked, each piece sent at once, errors in the stream once it has begun."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from corten.aio.sources import closing
from corten.api.call import HEADERS, Call, encode_line
from corten.api.errors import BodyTimeout, message
from corten.errors import CortenError, Unavailable

log = logging.getLogger(__name__)
_WHOLE = 1 << 20  # bytes that are kept back


class StartedResponse(web.StreamResponse):
    """An answer whose head has been sent; its connection can be cut."""

    connection: asyncio.Transport | None = None

    def cut(self) -> None:
        """End it in the middle: there is no other way to say that the rest does not come."""
        if isinstance(self.connection, asyncio.WriteTransport):
            self.connection.abort()


_BEGUN = web.RequestKey("begun", StartedResponse)


async def begin(call: Call, content_type: str, headers: Mapping[str, str] | None = None) -> web.StreamResponse:
    """Send the head now, so that the client gets an answer at once."""
    answer = StartedResponse(headers={"Content-Type": content_type, **HEADERS, **(headers or {})})
    answer.connection = call.request.transport
    call.request[_BEGUN] = answer
    await answer.prepare(call.request)
    return answer


def begun(request: web.BaseRequest) -> StartedResponse | None:
    """The answer whose head has been sent by `begin`."""
    return request.get(_BEGUN)


async def pieces(
    answer: web.StreamResponse, source: AsyncIterator[bytes], patience: float | None = None
) -> web.StreamResponse:
    """Send all of `source`.

    An error in it cuts the connection: the head is sent, so there is no other way to report it. So does a client that
    takes nothing for `patience` seconds, where others wait for `source`.
    """
    try:
        async with closing(source):
            async for piece in source:
                async with asyncio.timeout(patience):
                    await answer.write(piece)
    except (CortenError, OSError) as error:
        if not isinstance(error, ConnectionError):  # clients leave when they have seen enough
            log.warning("an answer was cut short: %s", str(error) or "nothing was taken of it for too long")
        if isinstance(answer, StartedResponse):
            answer.cut()
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
            await answer.write(_error_line(error))
        await answer.write_eof()
    return answer


async def progress_to_the_end(call: Call, source: AsyncIterator[object], status_200: bool) -> web.StreamResponse:
    """`progress` of a change that the request's body describes: once that is whole, the change is completed, though the
    client disconnects without reading the answer. With `status_200` the first error is a message too."""
    messages = _Messages(call)
    task = asyncio.create_task(messages.send_all(source, status_200))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if not call.request.content.is_eof():
            task.cancel()
        task.add_done_callback(_log_failure)
        raise
    return await messages.end()


class _Messages:
    """Lines of an answer that begins with the first of them; they are dropped when the client has disconnected."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._answer: web.StreamResponse | None = None
        self._disconnected = False

    async def send_all(self, source: AsyncIterator[object], status_200: bool) -> None:
        try:
            async with closing(source):
                async for item in source:
                    await self._send(encode_line(item))
        except (ConnectionError, BodyTimeout):  # its request has not come whole
            raise
        except (CortenError, OSError) as error:
            if self._answer is None and (isinstance(error, Unavailable) or not status_200):
                raise  # for Unavailable nothing was read: the client may try again
            await self._send(_error_line(error))

    async def _send(self, line: bytes) -> None:
        if self._disconnected:
            return
        try:
            await (await self._begun()).write(line)
        except ConnectionError:
            self._disconnected = True

    async def _begun(self) -> web.StreamResponse:
        if self._answer is None:
            self._answer = await begin(self._call, "application/json")
        return self._answer

    async def end(self) -> web.StreamResponse:
        answer = await self._begun()
        await answer.write_eof()
        return answer


def _log_failure(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, CortenError | OSError):
        log.error("a change whose client has disconnected failed", exc_info=error)


def _error_line(error: BaseException) -> bytes:
    text = message(error)
    return encode_line({"errorDetail": {"message": text}, "error": text})
