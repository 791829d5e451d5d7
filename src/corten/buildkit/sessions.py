"""Sessions of clients: HTTP/2 connections on which the daemon calls and the client answers. They are found by their id,
also by a build that came before them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from corten.buildkit.arrivals import Arrivals
from corten.errors import Invalid, Unavailable
from corten.http2.channel import Channel, over_socket
from corten.http2.connection import Connection
from corten.http2.grpc import UNIMPLEMENTED, Status, unary
from corten.spec.protobuf.session import SERVING, HealthCheckResponse

log = logging.getLogger(__name__)
_ID, _KEY, _METHOD = (
    "x-docker-expose-session-uuid",
    "x-docker-expose-session-sharedkey",
    ("x-docker-expose-session-grpc-method"),
)
_HEALTH = "/grpc.health.v1.Health/Check"
_EVERY, _PATIENCE, _FAILURES = 5.0, 15.0, 2
_WINDOW = 1 << 20  # bytes of one stream under way, each of which is in memory several times
_LONGEST = 200  # characters of an id


class Session:
    """One client. `key` names its directories for transfers that send what has changed; `methods` are in lower case."""

    def __init__(self, id: str, key: str, methods: frozenset[str], channel: Channel) -> None:
        self.id = id
        self.key = key
        self._methods = methods
        self.channel = channel

    def has(self, method: str) -> bool:
        """Whether the client serves "/package.Service/Method"."""
        return method.lower() in self._methods


class Sessions:
    """All of them, by id."""

    def __init__(self) -> None:
        self._sessions: Arrivals[Session] = Arrivals("session")

    async def serve(self, fd: int, early: bytes, headers: Sequence[tuple[str, str]]) -> None:
        """A session over a connection, until it ends. `headers` are those of its request; `fd` is closed."""
        ended = asyncio.Event()
        channel = await over_socket(fd, early, Connection(client=True, window=_WINDOW), on_end=ended.set)
        await self.keep(channel, ended, headers)

    async def keep(self, channel: Channel, ended: asyncio.Event, headers: Sequence[tuple[str, str]]) -> None:
        """The same over any channel, which is closed at the end. `ended` is set when it is.

        Raises Invalid, Conflict, Unavailable.
        """
        try:
            session = Session(*check(headers), channel)
            self._sessions.add(session.id, session)
            try:
                await self._watch(session, ended)
            finally:
                self._sessions.remove(session.id)
        finally:
            channel.close()

    async def _watch(self, session: Session, ended: asyncio.Event) -> None:
        """Until it ends, or its client says nothing any more."""
        failures = 0
        while failures < _FAILURES and not ended.is_set():
            try:
                async with asyncio.timeout(_EVERY):
                    await ended.wait()
            except TimeoutError:
                failures = 0 if await _healthy(session) else failures + 1
        if failures:
            log.info("the session %s does not answer: it is closed", session.id)

    async def find(self, id: str) -> Session:
        """Wait for it. `id` may have a name before a colon. Raises Unavailable."""
        return await self._sessions.find(id.rpartition(":")[2])


def check(headers: Sequence[tuple[str, str]]) -> tuple[str, str, frozenset[str]]:
    """Id, key and methods of a session's request. Raises Invalid without an id."""
    found: Mapping[str, str] = {name.lower(): value for name, value in headers}
    id = found.get(_ID, "")
    if not id or len(id) > _LONGEST or not id.isascii() or not id.isprintable():
        raise Invalid("a session needs an id in X-Docker-Expose-Session-Uuid")
    methods = frozenset(value.lower() for name, value in headers if name.lower() == _METHOD)
    return id, found.get(_KEY, ""), methods


async def _healthy(session: Session) -> bool:
    """A client that does not have the method is asked as well: that it says so is an answer."""
    try:
        answer = await unary(session.channel, _HEALTH, b"", seconds=_PATIENCE)
        return HealthCheckResponse.decode(answer).status == SERVING
    except Status as status:
        return status.code == UNIMPLEMENTED and not session.has(_HEALTH)
    except (Invalid, Unavailable):
        return False
