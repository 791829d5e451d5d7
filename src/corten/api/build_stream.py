"""POST /build/stream: a build whose client sends what is asked for, in frames. An addition of ours, for `corten build`;
docs/builder.md has the frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from aiohttp import web

from corten.aio.whole import to_the_end
from corten.api import builds
from corten.api.buildkit import asked_of, outputs_of
from corten.api.call import Call, encode_line
from corten.api.hijack import ASKED, Hijacked, take_after
from corten.build import lint
from corten.build.contract import BuildFailed, BuildRequest
from corten.build.framed.client import FramedClient
from corten.build.framed.connection import Connection
from corten.build.framed.sink import FramedSink
from corten.build.framed.streams import terminal
from corten.errors import Invalid
from corten.spec import build_frames as f
from corten.spec.dockerfile.check_rules import options
from corten.spec.json import Json

_SWITCHING = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {f.PROTOCOL}\r\n\r\n".encode()
_PIPED = "-"  # a context that the client has as a tar


async def stream(call: Call) -> web.StreamResponse:
    """What the query asks for is that of POST /build, and more: see docs/builder.md."""
    if call.request.headers.get(ASKED, "").lower() != f.PROTOCOL:
        raise Invalid(f"no upgrade to {f.PROTOCOL} was asked for")
    build = Build(call)
    taken = await take_after(call.request, _SWITCHING)
    connection = Connection(taken.fd, taken.early)
    work = asyncio.ensure_future(build.serve(connection))
    connection.ended.add_done_callback(lambda _: work.cancel())
    try:
        await asyncio.wait({work})
    finally:
        await builds.stopped(work)
        await to_the_end(connection.close())
    return Hijacked()


class Build:
    """One, as it is asked for. Raises Invalid, Unsupported for what no build can be."""

    def __init__(self, call: Call) -> None:
        self._call = call
        request = replace(builds.asked(call, classic=False), contexts=builds.table(call, "contexts"))
        if outputs := outputs_of(call, request.tags):
            request = replace(request, outputs=outputs, store=False)
        imports, exports = asked_of(call, "cacheimports"), asked_of(call, "cacheexports")
        request = replace(request, cache_imports=imports, cache_exports=exports)
        self._directories = builds.table(call, "directories")
        self._request = replace(request, local_dockerfile="dockerfile" in self._directories)
        self._check, self._debug = call.flag("check"), call.flag("debug")

    async def serve(self, connection: Connection) -> None:
        """Every line goes to the client, the last ones too: what was made, or the error."""
        said = builds.Said(classic=False, quiet=False)
        task = asyncio.ensure_future(self._made(connection, said))
        task.add_done_callback(lambda _: said.lines.end())
        try:
            while (line := await said.lines.next()) is not None:
                await connection.send(f.EVENT, 0, line)
            failed = builds.failure(task, classic=False)
            last = [said.error(failed)] if failed is not None else task.result()
            for each in last:
                await connection.send(f.EVENT, 0, encode_line(each))
        finally:
            await builds.stopped(task)

    async def _made(self, connection: Connection, said: builds.Said) -> list[Json]:
        client = FramedClient(connection, self._call.builds.trees, self._directories)
        try:
            async with _context(self._call, client, self._request) as request:
                if self._check:
                    return [{"aux": {"Check": await self._checked(request, client, said)}}]
                terminals = partial(terminal, connection) if self._debug else None
                built = await self._call.builds.build(request, client, said, FramedSink(connection), terminals)
                return [{"aux": {"ID": built.id, "Digest": built.digest, "Answer": dict(built.answer)}}]
        finally:
            await to_the_end(client.close())

    async def _checked(self, request: BuildRequest, client: FramedClient, said: builds.Said) -> Json:
        """lint.LintResults of BuildKit, and whether it is a failure."""
        try:
            definition, findings = await self._call.builds.check(request, client, said)
        except BuildFailed as failed:
            return {**lint.refused(failed), "failed": True}
        fails = bool(findings) and options(definition.file.directives.check).fail
        return {**lint.found(definition.name, definition.text, findings), "failed": fails}


@asynccontextmanager
async def _context(call: Call, client: FramedClient, request: BuildRequest) -> AsyncIterator[BuildRequest]:
    """Where the context is a tar that the client has on its standard input, and no directory."""
    if request.remote != _PIPED:
        yield request
        return
    request = builds.without_remote(request)
    async with builds.context_of(call, request, client.upload()) as client.context:
        yield request
