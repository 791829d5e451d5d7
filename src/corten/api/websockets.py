"""GET /containers/ID/attach/ws: a container's streams as messages of a websocket (RFC 6455), for consoles in browsers.

A supervisor knows no websockets. It has one end of a pair of sockets, and the daemon stands between the other end and
the client: such a client is disconnected when the daemon ends, and the container goes on. What either side does not
read is bounded by the socket buffers and by what aiohttp keeps of one message.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
import os
import socket
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web

from corten.aio.taking import disconnected, taken
from corten.aio.turns import receive
from corten.api.call import HEADERS, Call
from corten.api.errors import message
from corten.api.hijack import has_ended
from corten.api.routes import Route
from corten.api.versions import WEBSOCKET_BYTES
from corten.engine.containers import attach as container_attach
from corten.errors import CortenError, Invalid
from corten.tasks.contract import Stream

log = logging.getLogger(__name__)
_PIECE = 1 << 16  # bytes of one message
LARGEST = 64 << 20  # bytes of a client's message, which is held until it is whole
_CLOSING = 10.0  # seconds that a client has to answer the end
_LONGEST_REASON = 123  # bytes: a control frame has 125, with the code


async def attach(call: Call) -> web.StreamResponse:
    """Without frames: standard output and error are one stream. Messages are text below API 1.28."""
    container = call.engine.containers.get(call.path["id"])
    keys = container_attach.detach_keys(call.text("detachKeys"))
    container_attach.check_attachable(container)
    answer = web.WebSocketResponse(timeout=_CLOSING, max_msg_size=LARGEST + 1, compress=False)
    if not answer.can_prepare(call.request):
        raise Invalid("not websocket protocol")
    answer.headers.update(HEADERS)
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        stream = Stream(
            theirs.detach(),
            stdin=call.flag("stdin") and container.record.config.open_stdin,
            stdout=call.flag("stdout"),
            stderr=call.flag("stderr"),
            detach_keys=keys,
        )
        with container.attach_under_way() as early:
            await _begin(call, answer, stream)
            attaching = asyncio.ensure_future(
                container_attach.attach(
                    call.engine.containers, container, early, stream, call.flag("stream"), call.flag("logs")
                )
            )
            if not call.flag("logs"):  # which takes as long as the client takes to read it
                await asyncio.wait({attaching})
        incoming = asyncio.ensure_future(_input(call.request, answer, ours, stream.stdin))
        await _carry(answer, ours, attaching, incoming, call.version < WEBSOCKET_BYTES)
    return answer


async def _begin(call: Call, answer: web.WebSocketResponse, stream: Stream) -> None:
    """Send the head. ConnectionResetError when the client has gone; the stream is closed then."""
    try:
        await answer.prepare(call.request)
        if has_ended(call.request):
            raise ConnectionResetError("the client has gone")
    except BaseException:
        os.close(stream.fd)
        raise


async def _carry(
    answer: web.WebSocketResponse,
    ours: socket.socket,
    attaching: asyncio.Future[None],
    incoming: asyncio.Future[None],
    text: bool,
) -> None:
    """Until the stream ends, or the client. What goes wrong is said in the message that closes the connection."""
    try:
        await _output(answer, ours, text)
        await attaching
        await answer.close()
    except (CortenError, OSError) as error:
        log.debug("a websocket was closed: %s", error)
        await answer.close(code=WSCloseCode.INTERNAL_ERROR, message=message(error).encode()[:_LONGEST_REASON])
    finally:
        incoming.cancel()
        attaching.cancel()
        await asyncio.gather(incoming, attaching, return_exceptions=True)


async def _output(answer: web.WebSocketResponse, ours: socket.socket, text: bool) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := await receive(ours, _PIECE):
        if answer.closed:
            return
        if not text:
            await answer.send_bytes(data)
        elif words := decoder.decode(data):
            await answer.send_str(words)


async def _input(request: web.BaseRequest, answer: web.WebSocketResponse, ours: socket.socket, stdin: bool) -> None:
    """What the client types, until it closes: then the stream ends as well."""
    loop = asyncio.get_running_loop()
    try:
        async for piece in answer:
            if stdin and piece.type in (WSMsgType.BINARY, WSMsgType.TEXT):
                data = piece.data if piece.type is WSMsgType.BINARY else piece.data.encode()
                await taken(loop.sock_sendall(ours, data), lambda: disconnected(request.transport))
    finally:
        with suppress(OSError):
            ours.shutdown(socket.SHUT_RDWR)


ROUTES = (Route("GET", "/containers/{id:all}/attach/ws", attach, stream=True),)
