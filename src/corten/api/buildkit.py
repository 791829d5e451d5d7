"""BuildKit's clients: POST /session, POST /grpc, and POST /build?version=2, whose files are in a session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from aiohttp import web

from corten.api import builds
from corten.api.builds import Lines
from corten.api.call import BuildKit, Call, empty, upload
from corten.api.errors import message
from corten.api.hijack import ASKED, Hijacked, take_after
from corten.api.routes import Route
from corten.build.archive import ArchiveClient
from corten.build.contexts import Context
from corten.build.contract import Asked, BuildRequest, ClassicText, Client, Event, Log
from corten.build.outputs.contract import IMAGES, NO_SINK
from corten.build.result import Built
from corten.errors import Invalid
from corten.spec.json import Json
from corten.spec.reference import familiar

_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
_REMOTE, _UPLOAD = "client-session", "upload-request"


async def session(call: Call) -> web.StreamResponse:
    """POST /session: from the answer on HTTP/2, with this daemon as the client."""
    _check(call)
    headers = list(call.request.headers.items())
    taken = await take_after(call.request, _SWITCHING)
    await call.buildkit.session(taken.fd, taken.early, headers)
    return Hijacked()


async def grpc(call: Call) -> web.StreamResponse:
    """POST /grpc: from the answer on HTTP/2."""
    _check(call)
    taken = await take_after(call.request, _SWITCHING)
    await call.buildkit.grpc(taken.fd, taken.early)
    return Hijacked()


def _check(call: Call) -> None:
    if call.request.headers.get(ASKED, "").lower() != "h2c":
        raise Invalid("no upgrade to h2c was asked for")


async def build(call: Call) -> web.StreamResponse:
    """POST /build, by the protocol's version."""
    version = call.text("version", "1")
    if version == "1":
        return await builds.build(call)
    if version != "2":
        raise Invalid(f"unknown version of the builder: {version[:100]!r}")
    id = call.text("buildid")
    if id.startswith(f"{_UPLOAD}:"):
        await call.buildkit.upload(id.partition(":")[2], upload(call.request))
        return empty(200)
    request = builds.asked(call, classic=False)
    if outputs := outputs_of(call, request.tags):
        request = replace(request, outputs=outputs, store=False)
    async with AsyncExitStack() as held:
        client, request = await held.enter_async_context(_client(call, request))
        sink = await call.buildkit.sink(call.text("session")) if outputs else NO_SINK
        return await builds.answer(call, request, client, _Trace(call.buildkit, request, call.flag("q")), held, sink)


def outputs_of(call: Call, tags: Sequence[str]) -> tuple[Asked, ...]:
    """The query's `outputs`: JSON, a list of {Type, Attrs}. Images without a name get these. Raises Invalid."""
    found = asked_of(call, "outputs")
    named = {"name": ",".join(tags)} if tags else {}
    return tuple(
        replace(each, attributes={**named, **each.attributes}) if each.type in IMAGES else each for each in found
    )


def asked_of(call: Call, name: str) -> tuple[Asked, ...]:
    """A parameter that is a JSON list of {Type, Attrs}. Raises Invalid."""
    given = builds.json_of(call, name)
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise Invalid(f"invalid value for {name}: not a list of objects")
    return tuple(_asked(name, each) for each in given)


def _asked(name: str, entry: Json) -> Asked:
    kind, attributes = entry.get("Type") or "", entry.get("Attrs") or {}
    texts = isinstance(attributes, dict) and all(isinstance(value, str) for value in attributes.values())
    if not isinstance(kind, str) or not texts:
        raise Invalid(f"invalid value for {name}: a type and attributes are strings")
    return Asked(kind, attributes)


@asynccontextmanager
async def _client(call: Call, request: BuildRequest) -> AsyncIterator[tuple[Client, BuildRequest]]:
    """Where its files come from: the session, another request, or a URL."""
    session, remote = call.text("session"), request.remote
    if remote == _REMOTE:
        async with call.buildkit.client(session) as client:
            yield client, builds.without_remote(request)
        return
    body = upload(call.request)
    if remote == _UPLOAD:
        request = builds.without_remote(request)
        given = await call.buildkit.uploaded(request.id)
        try:
            async with builds.context_of(call, request, given.body) as context:
                given.taken.set()
                async with _either(call, session, context) as client:
                    yield client, request
        finally:
            given.taken.set()
        return
    async with builds.context_of(call, request, body) as context, _either(call, session, context) as client:
        yield client, request


@asynccontextmanager
async def _either(call: Call, session: str, context: Context | None) -> AsyncIterator[Client]:
    """What a context as a tar, or at a URL, does not have comes from a session, where there is one."""
    if session:
        async with call.buildkit.client(session, context) as client:
            yield client
    else:
        yield ArchiveClient(context, builds.credentials(call))


class _Trace:
    """Events as BuildKit's messages in `aux`; those of one turn of the loop in one."""

    def __init__(self, buildkit: BuildKit, request: BuildRequest, quiet: bool) -> None:
        self.lines = Lines()
        self._buildkit = buildkit
        self._tags = request.tags
        self._quiet = quiet
        self._waiting: list[Event] = []

    def __call__(self, event: Event) -> None:
        if self._quiet or isinstance(event, ClassicText):
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._say)
        self._waiting.append(event)

    def _say(self) -> None:
        waiting, self._waiting = self._waiting, []
        output = all(isinstance(event, Log) for event in waiting)
        for each in self._buildkit.encode(waiting):
            self.lines.put({"id": "moby.buildkit.trace", "aux": each}, output)

    def end(self, built: Built) -> list[Json]:
        if not built.answer:  # files are no image
            return []
        if self._quiet:
            return [{"stream": f"{built.id}\n"}]
        tags = self._tags if built.stored else ()
        named = [{"stream": f"Successfully tagged {familiar(name)}\n"} for name in tags]
        return [{"id": "moby.image.id", "aux": {"ID": built.id}}, *named]

    def error(self, error: Exception) -> Json:
        """Without the status of a step: BuildKit's client ends with 1 whatever that was."""
        text = message(error)
        return {"errorDetail": {"message": text}, "error": text}


ROUTES = (
    Route("POST", "/session", session, stream=True),
    Route("POST", "/grpc", grpc, stream=True),
    Route("POST", "/build", build, stream=True),
)
