"""The REST API as an aiohttp server: from a request to its route's function, and from an error to its answer."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from corten.aio.memory import Trimming
from corten.api import (
    containers,
    distribution,
    events,
    execs,
    images,
    networks,
    system,
    versions,
    volumes,
    websockets,
)
from corten.api.call import HEADERS, BuildKit, Call, json_answer
from corten.api.errors import message, status
from corten.api.hijack import Connection, Taken, tied
from corten.api.origin import refuse_browsers
from corten.api.routes import Route, Router
from corten.api.streams import begun
from corten.engine.engine import Engine
from corten.errors import CortenError, Unavailable
from corten.http.heads import awaits_invitation, unknown_expectation

if TYPE_CHECKING:
    from corten.build.builds import Builds
    from corten.machines.machines import Machines

log = logging.getLogger(__name__)
MAX_LINE, MAX_FIELD = 1 << 16, 1 << 20  # docker build sends its whole registry configuration in one header
_TABLES = (
    system.ROUTES,
    containers.ROUTES,
    execs.ROUTES,
    images.ROUTES,
    networks.ROUTES,
    volumes.ROUTES,
    websockets.ROUTES,
    events.ROUTES,
    distribution.ROUTES,
)


def _machines() -> Iterable[Route]:
    from corten.api import machines

    return machines.ROUTES


def _pods() -> Iterable[Route]:
    from corten.api import pods

    return pods.ROUTES


def _secrets() -> Iterable[Route]:
    from corten.api import secrets

    return secrets.ROUTES


def _builds() -> Iterable[Route]:
    from corten.api import build_caches, build_history, buildkit, builds

    return (*buildkit.ROUTES, *builds.ROUTES, *build_history.ROUTES, *build_caches.ROUTES)


_LATER = {
    "vms": _machines,
    "pods": _pods,
    "stored-secrets": _secrets,
    "build": _builds,
    "session": _builds,
    "grpc": _builds,
}
_LAST_ANSWERS = 1.0  # seconds to write them, and as many for handlers that are cancelled
_CANCELLATIONS = 10  # one can be lost: asyncio.wait_for drops it when what it waits for comes in the same moment


class Api(web.Server):
    """The API of one engine and its builds; a protocol factory for `http.accepting.Accepting` and the like.

    api = Api(engine, builds, buildkit)
    server = Accepting([listening_socket], api)
    ...
    server.close(); await api.shutdown(seconds)

    `builds` and `buildkit` give what builds are asked of, and what BuildKit's clients talk to, with the first request.
    `trusted_hosts` are further names by which this daemon may be called over TCP.
    """

    def __init__(
        self,
        engine: Engine,
        builds: Callable[[], Builds],
        buildkit: Callable[[], BuildKit],
        trusted_hosts: tuple[str, ...] = (),
        machines: Callable[[], Machines] | None = None,
    ) -> None:
        super().__init__(self._answer)
        self._engine = engine
        self._builds = builds
        self._buildkit = buildkit
        self._machines = machines
        self._oldest = versions.parse(engine.configuration.settings.min_api_version)
        self._trusted_hosts = trusted_hosts
        self._router = Router(*_TABLES, later=_LATER)
        self._unfinished: set[asyncio.Task[Any]] = set()
        self._streams: set[asyncio.Task[Any]] = set()
        self._ending = False
        self._memory = Trimming()

    def __call__(self) -> Connection:
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            access_log=None,
            keepalive_timeout=3600.0,
            tcp_keepalive=False,
            on_http2=self._http2,
        )

    async def shutdown(self, timeout: float | None = None) -> None:
        """End streams now, and give everything else `timeout` seconds to be completed. A second or two more are for the
        answers."""
        self._ending = True
        for connection in self.connections:
            connection.close()  # one that waits for its next request would be given all of `timeout` to send it
        await self._end_streams()
        if self._unfinished:
            await asyncio.wait(set(self._unfinished), timeout=timeout)
        await super().shutdown(_LAST_ANSWERS)

    async def _end_streams(self) -> None:
        for _ in range(_CANCELLATIONS):
            if not self._streams:
                return
            for task in self._streams:
                task.cancel()
            await asyncio.wait(set(self._streams), timeout=0.1)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer = await self._route(request)
        except asyncio.CancelledError:
            raise
        except ConnectionError:  # the client has gone in the middle
            raise
        except Exception as error:
            answer = _error_answer(error)
            if (cut := begun(request)) is not None:  # an answer within another would be content to its client
                cut.cut()
                raise ConnectionAbortedError(str(error)) from error
        finally:
            self._memory.after_work()
        if not answer.prepared:
            answer.headers.update(HEADERS)
            if awaits_invitation(request):
                answer.force_close()  # whether its body comes all the same cannot be known
        return answer

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        refuse_browsers(request, self._trusted_hosts)
        if expected := unknown_expectation(request):
            return _last(json_answer({"message": f"unknown expectation: {expected[:100]}"}, 417))
        version, path = versions.split(request.rel_url.raw_path, self._oldest)
        found = self._router.find(request.method, path)
        if found is None:
            return json_answer({"message": "page not found"}, 404)
        route, parameters = found
        call = Call(request, self._engine, self._builds, self._buildkit, version, parameters, self._machines)
        return await (self._stream(route, call) if route.stream else self._complete(route, call))

    async def _stream(self, route: Route, call: Call) -> web.StreamResponse:
        """An answer that goes on ends with its client, or with the daemon; none begins when that is about to end."""
        if self._ending:
            raise Unavailable("the daemon is shutting down")
        with tied(call.request) as task:
            self._streams.add(task)
            try:
                return await route.function(call)
            finally:
                self._streams.discard(task)

    def _http2(self, taken: Taken) -> None:
        """gRPC by HTTP/2's preface: what POST /grpc is after its answer."""
        if self._ending:
            os.close(taken.fd)
            return
        task = asyncio.ensure_future(self._grpc(taken))
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        task.add_done_callback(_seen)

    async def _grpc(self, taken: Taken) -> None:
        await self._buildkit().grpc(taken.fd, taken.early)

    async def _complete(self, route: Route, call: Call) -> web.StreamResponse:
        """A change that was begun is completed, even when the client goes meanwhile."""
        task = asyncio.current_task()
        assert task is not None
        self._unfinished.add(task)
        try:
            return await route.function(call)
        finally:
            self._unfinished.discard(task)


def _seen(task: asyncio.Task[Any]) -> None:
    """Log an error whose client has disconnected."""
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, CortenError):
        log.debug("a request ended with %r", error)


def _error_answer(error: Exception) -> web.Response:
    code = status(error)
    if code == 304:
        return web.Response(status=304)
    answer = json_answer({"message": message(error)}, code)
    return _last(answer) if code in (408, 413) else answer  # the rest of the body is not read


def _last(answer: web.Response) -> web.Response:
    """The last one on its connection."""
    answer.force_close()
    return answer
