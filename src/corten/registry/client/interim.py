"""Interim answers (RFC 9110, 15.2), of which aiohttp reads as many as come before the answer: without a bound a
registry that sends nothing else keeps the event loop busy for as long as it may be silent."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

MOST = 5  # in a row, as Go's client


class Connection(ResponseHandler):
    """One connection. The request on it fails with ServerDisconnectedError, and the connection is closed, when more
    than MOST come."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._interim = 0

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Called for each head, the answer's included."""
        code = data[0].code
        self._interim = self._interim + 1 if 100 <= code < 200 and code != 101 else 0
        if self._interim <= MOST:
            super().feed_data(data, size)
        elif self.exception() is None:
            self.set_exception(aiohttp.ServerDisconnectedError("interim answers without end"))
            if self.transport is not None:
                self.transport.close()  # `close` would forget the exception
