"""Request heads as our servers take them (RFC 9112): bounded in size and in time, and answered when they are malformed.

aiohttp bounds each line and the number of lines; that is 128 MB for our API, whose clients send their whole registry
configuration in one header. It waits for a head's end as long as a connection may be idle, and answers what is no HTTP
in plain text by its own name.

Of aiohttp's inner workings this uses `_messages`, `_waiter`, `_close`, `_upgraded`, `_buffer_paused`, `_request_count`,
`_current_request` and `_ErrInfo`; tests/contract/test_hijack.py, tests/hostile/test_registry_server.py and
tests/fault/test_images_killed.py hold what must stay true.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Coroutine
from typing import Any

from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from corten.units.durations import in_go

MAX_HEAD = 1 << 20  # bytes, as Go's server
HEAD_SECONDS = 60.0  # from the first byte of a head that has begun to its last
_INVITED = web.RequestKey("invited", bool)
_TLS_HANDSHAKE = b"\x16\x03"
_log = logging.getLogger(__name__)


class BoundedHeads(RequestHandler):
    """One client connection. `error_answer` is what its server says about a request that never became one; `most` is
    how many bytes a head may have."""

    __slots__ = ("_deadline", "_head_size", "_last_payload")
    most = MAX_HEAD

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, auto_decompress=False)  # a few bytes would stand for any number
        self._deadline: asyncio.TimerHandle | None = None
        self._head_size = 0
        self._last_payload: Any = None

    @abstractmethod
    def error_answer(self, status: int, text: str) -> web.Response: ...

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_ended()
        request = self._current_request
        if request is not None and request.content.is_eof():
            self._current_request = None  # or aiohttp would drop what is still to be read of a body that came whole
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # Without data aiohttp asks to go on with what its parser holds: requests behind those that wait their turn.
        if not data or self._upgraded or not self._between_requests():
            self._feed(data)
        elif not self._head_size and data.startswith(_TLS_HANDSHAKE):
            self._refuse(400, "client sent a TLS handshake to a server that does not speak TLS here")
        else:
            self._head_received(data)

    def _between_requests(self) -> bool:
        """True when the next byte belongs to a request's head: the last one that was begun has its whole body."""
        return self._last_payload is None or self._last_payload.is_eof()

    def _head_received(self, data: bytes) -> None:
        """Bytes between requests; most often a whole head and what is behind it."""
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        before, between = self._request_count, self._between_requests()
        super().data_received(data)
        if self._request_count > before:
            self._head_ended()
            self._last_payload = self._messages[-1][1]
        elif between and not self._buffer_paused and not self._upgraded and data.strip(b"\r\n"):
            self._head_grows(self._head_size + len(data))

    def _head_grows(self, size: int) -> None:
        """It has so many bytes by now, and no end yet."""
        self._head_size = size
        if self._deadline is None:
            self._deadline = self._loop.call_later(HEAD_SECONDS, self._too_slow)
        if self._head_size > self.most:
            self._refuse(431, f"the head of the request is larger than {self.most} bytes")

    def _head_ended(self) -> None:
        self._head_size = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._refuse(408, f"the head of the request did not end within {in_go(HEAD_SECONDS)}")

    def _refuse(self, status: int, text: str) -> None:
        """The last answer on this connection, behind those to what came before; nothing more is read."""
        self._head_ended()
        if self._close or self._force_close:
            return
        self._request_count += 1
        self._messages.append((_ErrInfo(status=status, exc=ValueError(text), message=text), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._close = True

    def finish_response(
        self, request: Any, resp: Any, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[Any, bool]]:
        """To a request with `Upgrade` this is the last answer, because aiohttp loses what follows or takes it for the
        new protocol; only behind a whole request for a websocket it goes on with the next one."""
        upgrade = request.headers.get("Upgrade", "")
        if upgrade and (upgrade.lower() != "websocket" or not request.content.is_eof()):
            resp.force_close()
        return super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        text = " ".join((message or str(exc) or "").split())[:300]
        if status >= 500 and not isinstance(exc, ConnectionError):  # a client that goes away is no error of ours
            _log.error("a request failed", exc_info=exc)
        elif not isinstance(exc, ValueError):
            text = f"malformed HTTP request: {text}"
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun before it failed")
        answer = self.error_answer(status, text or "internal error")
        answer.force_close()
        return answer


def invite(request: web.BaseRequest) -> None:
    """Send 100 Continue to a client that waits for it (RFC 9110, 10.1.1). Called once, before the body is read."""
    if awaits_invitation(request) and request.transport is not None:
        request[_INVITED] = True
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def awaits_invitation(request: web.BaseRequest) -> bool:
    """Whether the client has kept its body back until now."""
    expected = request.headers.get("Expect")
    return (
        expected is not None
        and expected.strip().lower() == "100-continue"
        and request.version >= (1, 1)
        and not request.content.is_eof()
        and _INVITED not in request
    )


def unknown_expectation(request: web.BaseRequest) -> str:
    """An expectation of the client that no server here supports; "" for nothing."""
    expected = request.headers.get("Expect", "").strip()
    return expected if expected.lower() != "100-continue" else ""
