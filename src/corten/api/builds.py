"""/build: the classic builder's face, and what belongs to the cache of builds.

`trace=1` is an addition of ours: BuildKit's rules, and the events of the graph as lines of JSON (`api.traces`) instead
of the classic builder's text. `corten build` asks so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Protocol

import msgspec
from aiohttp import web

from corten.aio.whole import to_the_end
from corten.api.call import Call, decode_header, empty, encode_line, json_answer, upload
from corten.api.errors import message
from corten.api.routes import Route
from corten.api.streams import begin
from corten.api.traces import traced
from corten.build.archive import ArchiveClient
from corten.build.contexts import Context
from corten.build.contract import BuildFailed, BuildRequest, ClassicText, Client, Event, Limits, Log, SourceMissing
from corten.build.outputs.contract import NO_SINK, Sink
from corten.build.result import Built
from corten.errors import CortenError, Failed, Invalid
from corten.plan.validate.resources import check_ulimits
from corten.spec.docker.auth import AuthConfig
from corten.spec.docker.decode import decode
from corten.spec.docker.host_config import Ulimit
from corten.spec.json import Json
from corten.spec.reference import parse

log = logging.getLogger(__name__)
_CONFIG = "X-Registry-Config"
BEHIND = 8 << 20  # bytes of an answer that a client may be behind before output is left out
_ARGUMENTS = 10_000  # of --build-arg, --label


async def build(call: Call) -> web.StreamResponse:
    """POST /build: the body is the context as a tar."""
    request = asked(call, classic=not call.flag("trace"))
    async with AsyncExitStack() as held:
        context = await held.enter_async_context(context_of(call, request, upload(call.request)))
        client = ArchiveClient(context, credentials(call))
        return await answer(call, request, client, Said(request.classic, call.flag("q")), held)


@asynccontextmanager
async def context_of(call: Call, request: BuildRequest, body: AsyncIterator[bytes]) -> AsyncIterator[Context | None]:
    """The context in `body`, removed at the end; None when the request names a URL."""
    if request.remote:
        yield None
        return
    context = await call.builds.contexts.receive(body, _kept(request))
    try:
        yield context
    finally:
        await to_the_end(context.remove())


def _kept(request: BuildRequest) -> str:
    """By which a client's next context is known again: what it builds. "" for what has no name."""
    return f"archive\0{request.tags[0]}\0{request.dockerfile}" if request.tags else ""


def without_remote(request: BuildRequest) -> BuildRequest:
    return replace(request, remote="")


class Shown(Protocol):
    """What a face makes of events: `lines` for the client, the last ones, and the one that is an error."""

    lines: Lines

    def __call__(self, event: Event) -> None: ...

    def end(self, built: Built) -> list[Json]: ...

    def error(self, error: Exception) -> Json: ...


async def answer(
    call: Call, request: BuildRequest, client: Client, shown: Shown, held: AsyncExitStack, sink: Sink = NO_SINK
) -> web.StreamResponse:
    """Messages while it is built. An error before the first is a plain error; after it, it is a message.

    What is `held` for the build is given back before the last message: files of a layer have no second name then, in a
    context that is about to be removed.
    """
    lines = shown.lines
    task = asyncio.create_task(call.builds.build(request, client, shown, sink))
    task.add_done_callback(lambda _: lines.end())
    stream: web.StreamResponse | None = None
    try:
        while (line := await lines.next()) is not None:
            stream = stream or await begin(call, "application/json")
            await stream.write(line)
        await held.aclose()
        failed = failure(task, request.classic)
        if failed is not None and stream is None and not isinstance(failed, OSError):
            raise failed
        stream = stream or await begin(call, "application/json")
        for last in [shown.error(failed)] if failed is not None else shown.end(task.result()):
            await stream.write(encode_line(last))
        await stream.write_eof()
        return stream
    finally:
        await stopped(task)


async def stopped(task: asyncio.Task[Any]) -> None:
    while not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # seen


def failure(task: asyncio.Task[Any], classic: bool) -> Exception | None:
    """The error of a build; for the classic builder what caused it, whose class says whether the request was wrong."""
    if task.cancelled():
        return Failed("the build was cancelled: context canceled")
    error = task.exception()
    if error is None:
        return None
    if not isinstance(error, CortenError | OSError):
        log.error("a build failed", exc_info=error)
        return Failed(message(error))
    cause = error.__cause__
    if classic and isinstance(error, BuildFailed) and isinstance(cause, CortenError):
        return error if isinstance(cause, SourceMissing) else cause
    return error


def _error(error: Exception, classic: bool) -> Json:
    text = message(error)
    if not isinstance(error, BuildFailed):
        return {"errorDetail": {"message": text}, "error": text}
    if classic:
        return {"errorDetail": {"code": error.status, "message": text}, "error": text}
    detail: Json = {"message": text, "vertex": error.vertex, "filename": error.filename, "ranges": error.ranges}
    detail |= {"code": error.status} if error.status else {}
    detail["dockerfile"] = error.dockerfile.decode("utf-8", "replace")
    return {"errorDetail": detail, "error": text}


class Lines:
    """Lines of an answer between a build and its client. A client that is too far behind loses output of steps, never a
    vertex: a build does not wait for its reader."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._behind = 0  # bytes
        self._clipped = False

    def put(self, message: Json, output: bool = False) -> None:
        """`output` may be left out."""
        if output and self._behind > BEHIND:
            self._clipped = True
            return
        line = encode_line(message)
        self._behind += len(line)
        self._queue.put_nowait(line)

    def end(self) -> None:
        self._say_clipped()
        self._queue.put_nowait(None)

    async def next(self) -> bytes | None:
        """None at the end."""
        line = await self._queue.get()
        self._behind -= len(line or b"")
        if self._behind <= BEHIND // 2:
            self._say_clipped()
        return line

    def _say_clipped(self) -> None:
        if self._clipped:
            self._clipped = False
            self.put({"stream": "[output clipped: it was not read]\n"})


class Said:
    """What a face shows of events: the classic text, or the trace."""

    def __init__(self, classic: bool, quiet: bool) -> None:
        self.lines = Lines()
        self._classic = classic
        self._quiet = quiet

    def __call__(self, event: Event) -> None:
        if not self._classic:
            self.lines.put(traced(event), isinstance(event, Log))
        elif isinstance(event, ClassicText) and not self._quiet:
            if event.image:
                self.lines.put({"aux": {"ID": event.image}})
            self.lines.put({"stream": event.text}, output=True)

    def end(self, built: Built) -> list[Json]:
        if not self._classic:
            return [{"aux": {"ID": built.id, "Digest": built.digest}}]
        return [{"stream": f"{built.id}\n"}] if self._quiet else []

    def error(self, error: Exception) -> Json:
        return _error(error, self._classic)


# ------------------------------------------------------------------------------------------------------- what is asked


def asked(call: Call, classic: bool) -> BuildRequest:
    """Raises Invalid."""
    return BuildRequest(
        id=call.text("buildid"),
        dockerfile=call.text("dockerfile"),
        remote=call.text("remote"),
        target=call.text("target"),
        arguments=table(call, "buildargs"),
        labels=table(call, "labels"),
        tags=tuple(_tag(name) for name in call.query.getall("t", []) if name),
        platform=call.text("platform").lower(),
        pull=call.flag("pull"),
        no_cache=call.flag("nocache"),
        no_cache_stages=tuple(_list(call, "nocachefilter")),
        cache_from=tuple(_list(call, "cachefrom")),
        network=call.text("networkmode") or "default",
        extra_hosts=_hosts(call),
        devices=tuple(_list(call, "devices")),
        limits=_limits(call),
        attest=table(call, "attest"),
        classic=classic,
        squash=call.flag("squash"),
    )


def _tag(name: str) -> str:
    reference = parse(name)
    if reference.digest:
        raise Invalid("refusing to create a tag with a digest reference")
    return str(reference.tagged)


def json_of(call: Call, name: str) -> object:
    text = call.text(name)
    if not text:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise Invalid(f"invalid value for {name}: not JSON") from None


def table(call: Call, name: str) -> dict[str, str]:
    """A JSON object of texts; a name without a value is left out."""
    found = json_of(call, name)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str | None) for value in found.values()):
        raise Invalid(f"invalid value for {name}: not an object of strings")
    if len(found) > _ARGUMENTS:
        raise Invalid(f"invalid value for {name}: more than {_ARGUMENTS} entries")
    return {key: value for key, value in found.items() if value is not None}


def _list(call: Call, name: str) -> list[str]:
    found = json_of(call, name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(value, str) for value in found):
        raise Invalid(f"invalid value for {name}: not a list of strings")
    return found


def _hosts(call: Call) -> tuple[str, ...]:
    """One `extrahosts` for each, as docker's client sends them, or a JSON list or object in one."""
    given = call.query.getall("extrahosts", [])
    if len(given) == 1 and given[0].startswith(("[", "{")):
        found = json_of(call, "extrahosts")
        if isinstance(found, dict):
            return tuple(f"{name}:{address}" for name, address in found.items())
        return tuple(_list(call, "extrahosts"))
    return tuple(entry for text in given for entry in text.split(",") if entry)


def _limits(call: Call) -> Limits:
    memory = call.integer("memory", 0) or 0
    if memory < 0:
        raise Invalid(f"invalid value for memory: {memory}")
    shm = call.integer("shmsize", 0) or 0
    if shm < 0:
        raise Invalid("invalid shmsize: it must not be negative")
    return Limits(
        memory=memory,
        memory_swap=call.integer("memswap", 0) or 0,
        cpu_shares=call.integer("cpushares", 0) or 0,
        cpu_period=call.integer("cpuperiod", 0) or 0,
        cpu_quota=call.integer("cpuquota", 0) or 0,
        cpuset_cpus=call.text("cpusetcpus"),
        cpuset_mems=call.text("cpusetmems"),
        cgroup_parent=call.text("cgroupparent"),
        shm_size=shm,
        ulimits=_ulimits(call),
    )


def _ulimits(call: Call) -> tuple[tuple[str, int, int], ...]:
    found = json_of(call, "ulimits")
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise Invalid("invalid value for ulimits: not a list of objects")
    limits = [decode(Ulimit, entry) for entry in found]
    check_ulimits(limits)
    return tuple((limit.name, limit.soft, limit.hard) for limit in limits)


def credentials(call: Call) -> Mapping[str, tuple[str, str]]:
    """X-Registry-Config: base64url JSON, registry to credentials."""
    found = {}
    for server, entry in decode_header(call.request, _CONFIG).items():
        auth = decode(AuthConfig, entry if isinstance(entry, dict) else None)
        if auth.identitytoken:
            found[server] = ("", auth.identitytoken)
        elif auth.username:
            found[server] = (auth.username, auth.password)
    return found


# ----------------------------------------------------------------------------------------------------------- the cache


async def cancel(call: Call) -> web.StreamResponse:
    """POST /build/cancel?id="""
    if not (id := call.text("id")):
        raise Invalid("build ID not provided")
    call.builds.cancel(id)
    return empty()


async def prune(call: Call) -> web.StreamResponse:
    """POST /build/prune"""
    keep = call.integer("reserved-space", call.integer("keep-storage", 0)) or 0
    most = call.integer("max-used-space", 0) or 0
    deleted, freed = await call.builds.prune(call.flag("all"), call.filters(), max(keep, most))
    return json_answer({"CachesDeleted": deleted or None, "SpaceReclaimed": freed})


async def stream(call: Call) -> web.StreamResponse:
    """POST /build/stream"""
    from corten.api import build_stream  # a daemon that has no such client does not carry it

    return await build_stream.stream(call)


ROUTES = (
    Route("POST", "/build/stream", stream, stream=True),
    Route("POST", "/build/cancel", cancel),
    Route("POST", "/build/prune", prune),
)
