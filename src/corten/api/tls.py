"""TLS before the API: each session becomes a plain connection to it over a socket pair.

asyncio's own TLS closes a connection when the client ends its sending side, and clients do that while they wait for
output: `docker run` without -i does it at once. Here that end is passed on as what it is. And because the API then sees
a unix socket, attach and exec hand it to a supervisor like any other; the session stays here.

    server = Accepting([listening], TlsFront(api, context))   # without its own TLS
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

log = logging.getLogger(__name__)
HANDSHAKE_SECONDS = 30.0
_PIECE = 65536
# Byte for byte Go's, which clients know and show.
_NO_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


class TlsFront:
    """A protocol factory over the API's own. `context` is a server's, with whatever it asks of clients."""

    def __init__(self, api: Callable[[], asyncio.Protocol], context: ssl.SSLContext) -> None:
        self.api = api
        self.context = context

    def __call__(self) -> asyncio.Protocol:
        return Session(self)


class Session(asyncio.Protocol):
    """One TLS connection: `_outer` is the client's side, `_inner` ours."""

    _outer: asyncio.Transport

    def __init__(self, front: TlsFront) -> None:
        self._api = front.api
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = front.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._inner: asyncio.Transport | None = None
        self._joining: asyncio.Task[None] | None = None
        self._client_ended = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._outer = transport
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        if self._inner is not None:
            self._decrypt()
        elif self._joining is None:
            self._shake_hands()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
        except ssl.SSLError as error:
            log.info("a TLS client was refused: %s", error)
            if error.reason == "HTTP_REQUEST":
                self._outgoing.read()  # an alert, which would spoil the answer
                self._outer.write(_NO_TLS)
            self._send()
            self._outer.close()
        else:
            self._send()
            self._outer.pause_reading()
            self._joining = asyncio.get_running_loop().create_task(self._join())

    async def _join(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        await loop.connect_accepted_socket(self._api, theirs)
        transport, _ = await loop.create_connection(lambda: _Inner(self), sock=ours)
        if self._deadline is not None:
            self._deadline.cancel()
        self._inner = transport
        self._decrypt()
        self._outer.resume_reading()

    def _decrypt(self) -> None:
        assert self._inner is not None
        try:
            while not self._client_ended:
                if data := self._tls.read(_PIECE):
                    self._inner.write(data)
                else:
                    self._end_of_client()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._end_of_client()
        except ssl.SSLError as error:
            log.info("a TLS connection broke: %s", error)
            self._outer.abort()
        self._send()

    def _end_of_client(self) -> None:
        """It will send no more; it still reads."""
        self._client_ended = True
        if self._inner is not None and not self._inner.is_closing():
            self._inner.write_eof()

    def eof_received(self) -> bool:
        if self._inner is None:
            return False
        if not self._client_ended:
            self._end_of_client()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._joining is not None:
            self._joining.cancel()
        if self._inner is not None:
            self._inner.close()

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_reading()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_reading()

    # calls of the inner side

    def answer(self, data: bytes) -> None:
        self._tls.write(data)
        self._send()

    def end(self) -> None:
        """Everything was answered: say so in TLS, then close."""
        if self._outer.is_closing():
            return
        try:
            self._tls.unwrap()
        except ssl.SSLError:  # the client has not said the same yet, and need not
            pass
        self._send()
        self._outer.close()

    def pace(self, go_on: bool) -> None:
        if not self._outer.is_closing():
            if go_on:
                self._outer.resume_reading()
            else:
                self._outer.pause_reading()

    def _send(self) -> None:
        if data := self._outgoing.read():
            self._outer.write(data)


class _Inner(asyncio.Protocol):
    def __init__(self, session: Session) -> None:
        self._session = session

    def data_received(self, data: bytes) -> None:
        self._session.answer(data)

    def eof_received(self) -> None:
        self._session.end()

    def connection_lost(self, error: Exception | None) -> None:
        self._session.end()

    def pause_writing(self) -> None:
        self._session.pace(False)

    def resume_writing(self) -> None:
        self._session.pace(True)
