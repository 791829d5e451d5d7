"""/containers: attach, logs and stats."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from corten.aio.sources import closing
from corten.aio.threads import answered
from corten.api.call import Call, encode_line
from corten.api.hijack import FRAMED, RAW, Hijacked, take
from corten.api.routes import Route
from corten.api.streams import begin, pieces
from corten.api.versions import STREAM_TYPES
from corten.engine.containers import attach as container_attach
from corten.engine.containers import logs
from corten.engine.containers import stats as container_stats
from corten.engine.containers import wait as container_wait
from corten.engine.containers.container import Container
from corten.errors import Invalid, NotFound, Unsupported
from corten.tasks.contract import Stream

__all__ = ["ROUTES", "begin"]


async def attach(call: Call) -> web.StreamResponse:
    """The connection becomes the container's; the supervisor serves it from then on."""
    container = call.engine.containers.get(call.path["id"])
    keys = container_attach.detach_keys(call.text("detachKeys"))
    container_attach.check_attachable(container)
    live, replay = call.flag("stream"), call.flag("logs")
    mux = not container.record.tty
    with container.attach_under_way() as early:
        taken = await take(call.request, framed=mux, stream_types=call.version >= STREAM_TYPES)
        stream = Stream(
            taken.fd,
            stdin=call.flag("stdin") and container.record.config.open_stdin,
            stdout=call.flag("stdout"),
            stderr=call.flag("stderr"),
            mux=mux,
            early=taken.early,
            detach_keys=keys,
        )
        if not replay:  # which takes as long as the client takes to read it
            await container_attach.attach(call.engine.containers, container, early, stream, live, replay)
            return Hijacked()
    await container_attach.attach(call.engine.containers, container, early, stream, live, replay)
    return Hijacked()


async def container_logs(call: Call) -> web.StreamResponse:
    """Not hijacked: a chunked body of the same frames."""
    container = call.engine.containers.get(call.path["id"])
    wanted = _selection(call, container)
    path = container.log_path or container.kubernetes_log
    if path is None:
        raise Unsupported("configured logging driver does not support reading")
    kind = (FRAMED if wanted.mux else RAW) if call.version >= STREAM_TYPES else RAW
    ended = container_wait.future(container, "next-exit") if wanted.follow else None
    try:
        if wanted.kubernetes and not await answered(path.parent.is_dir, "the log"):
            raise NotFound(f"the log of container {container.id} was removed by its kubelet")
        await logs.catch_up(container.task)
        answer = await begin(call, kind)
        return await pieces(answer, logs.read(path, wanted, ended))
    finally:
        if ended is not None:
            ended.cancel()


def _selection(call: Call, container: Container) -> logs.Selection:
    stdout, stderr = call.flag("stdout"), call.flag("stderr")
    if not (stdout or stderr):
        raise Invalid("Bad parameters: you must choose at least one stream")
    tail = call.text("tail", "all")
    return logs.Selection(
        stdout=stdout,
        stderr=stderr,
        since=call.time("since"),
        until=call.time("until"),
        tail=int(tail) if tail.isascii() and tail.isdigit() and len(tail) < 19 else None,
        follow=call.flag("follow") and container.record.state.has_task,
        timestamps=call.flag("timestamps"),
        details=call.flag("details"),
        mux=not container.record.tty or call.flag("frames"),
        kubernetes=container.log_path is None,
    )


async def stats(call: Call) -> web.StreamResponse:
    stream, one_shot = call.flag("stream", True), call.flag("one-shot")
    if stream and one_shot:
        raise Invalid("cannot have stream=true and one-shot=true")
    container = call.engine.containers.get(call.path["id"])

    async with closing(container_stats.stats(call.engine.containers, container, stream, one_shot)) as samples:
        first = await anext(samples, None)  # before the head is sent: an error has a status then

        async def lines() -> AsyncIterator[bytes]:
            if first is not None:
                yield encode_line(first)
                async for sample in samples:
                    yield encode_line(sample)

        return await pieces(await begin(call, "application/json"), lines())


ROUTES = (
    Route("POST", "/containers/{id:all}/attach", attach),
    Route("GET", "/containers/{id:all}/logs", container_logs, stream=True),
    Route("GET", "/containers/{id:all}/stats", stats, stream=True),
)
