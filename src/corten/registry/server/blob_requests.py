"""Blobs and uploads (OCI distribution specification 1.1, end-2, end-4 to end-6, end-10, end-11, end-13, end-14)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web

from corten.aio.sources import closing
from corten.aio.threads import run_uncancelled
from corten.errors import Conflict, CortenError, Forbidden, NotFound
from corten.registry.server.answers import HEADERS, MoreScope, Refusal, created, where
from corten.registry.server.asked import Asked
from corten.registry.server.bodies import pieces
from corten.registry.server.downloads import Download
from corten.registry.server.names import check_name
from corten.registry.server.parts import Parts
from corten.registry.server.store import NO_BLOB
from corten.registry.server.uploads import Upload
from corten.registry.server.webhooks import Target
from corten.spec import digest as digests

_BATCH = 1 << 20  # bytes that go to the disk thread at once
_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/.*)?")


class BlobRequests:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store

    async def get(self, asked: Asked) -> web.StreamResponse:
        digest = digests.check(asked.what)
        heading = asked.request.method == "HEAD"
        if heading:
            there = await asyncio.to_thread(self._store.need_blob, asked.name, digest)
        else:
            there = self._store.has_blob(asked.name, digest)
        upstreams = self._parts.caches(asked.name)
        headers = {**HEADERS, "Docker-Content-Digest": digest, "Content-Type": "application/octet-stream"}
        headers["Accept-Ranges"] = "bytes"
        if upstreams is not None and not there:
            if heading:
                size = await upstreams.size(asked.name, digest)
                return web.Response(headers={**headers, "Content-Length": str(size)})
            download = await upstreams.blob(asked.name, digest)
            await download.started()
            if "Range" not in asked.request.headers:
                return await _passed_on(asked.request, download, headers)
            await download.whole()
        elif not there:
            raise NotFound(NO_BLOB)
        elif upstreams is not None:
            upstreams.hit()
        if not heading:
            self._parts.webhooks.notify(asked, "pull", Target(digest))
        return web.FileResponse(self._store.layout.blob(digest), chunk_size=_BATCH, headers=headers)

    async def delete(self, asked: Asked) -> web.StreamResponse:
        await asyncio.to_thread(self._store.delete_blob, asked.name, digests.check(asked.what))
        self._parts.webhooks.notify(asked, "delete", Target(asked.what))
        return web.Response(status=202, headers=HEADERS)

    # ---------------------------------------------------------------------------------------------------- uploads

    async def begin(self, asked: Asked) -> web.StreamResponse:
        query = asked.request.query
        check_no_cache(self._parts, asked.name)
        if mounted := query.get("mount", ""):
            source = check_name(query["from"]) if query.get("from") else ""
            if source and self._parts.access.could_read(asked.actor, source):
                raise MoreScope(f"repository:{asked.name}:pull,push repository:{source}:pull")
            if await asyncio.to_thread(self._mount, asked, digests.check(mounted), source):
                self._parts.webhooks.notify(asked, "mount", Target(mounted))
                return created(asked.name, mounted)
        upload = await run_uncancelled(partial(self._store.begin, asked.name, asked.actor.user), self._store.abort)
        if wanted := query.get("digest", ""):
            try:
                return await self._complete(asked, upload, digests.check(wanted))
            except BaseException:
                self._store.abort(upload)
                raise
        return web.Response(status=202, headers=where(upload))

    def _mount(self, asked: Asked, digest: str, source: str) -> bool:
        """From a repository that the sender may read, or not at all: an upload begins instead, as for a blob that is
        absent, so that a client cannot find out what others have."""
        sources: Iterable[str] = [source] if source else self._store.layout.repositories()
        readable = (name for name in sources if self._parts.access.may(asked.actor, "read", name))
        return bool(self._store.mount(asked.name, digest, readable))

    async def progress(self, asked: Asked) -> web.StreamResponse:
        return web.Response(status=204, headers=where(await self._upload(asked)))

    async def append(self, asked: Asked) -> web.StreamResponse:
        upload = await self._upload(asked)
        async with _held(upload):
            await self._receive(asked.request, upload)
        return web.Response(status=202, headers=where(upload))

    async def finish(self, asked: Asked) -> web.StreamResponse:
        upload = await self._upload(asked)
        return await self._complete(asked, upload, digests.check(asked.request.query.get("digest")))

    async def abort(self, asked: Asked) -> web.StreamResponse:
        upload = await self._upload(asked)
        await asyncio.to_thread(self._store.abort, upload)
        return web.Response(status=204, headers=HEADERS)

    async def _upload(self, asked: Asked) -> Upload:
        return await asyncio.to_thread(self._store.uploads.find, asked.name, asked.what)

    async def _complete(self, asked: Asked, upload: Upload, digest: str) -> web.StreamResponse:
        async with _held(upload):
            await self._receive(asked.request, upload)
            await asyncio.to_thread(self._store.finish, upload, digest)
        self._parts.webhooks.notify(asked, "push", Target(digest, size=upload.size))
        return created(upload.repository, digest)

    async def _receive(self, request: web.Request, upload: Upload) -> None:
        """Append the body. What came of one that breaks off is kept and can be continued."""
        announced = _announced(request, upload)
        before = upload.size
        try:
            if self._parts.quotas is not None:  # what is refused need not come
                wanted = before + (request.content_length or 0)
                await asyncio.to_thread(self._parts.quotas.room, upload.repository, upload.id, wanted)
            await _pour(request, partial(self._store.write, upload))
        except Forbidden:
            await asyncio.to_thread(self._store.abort, upload)
            raise
        finally:
            self._parts.metrics.count("received_bytes_total", upload.size - before)
        if announced not in (None, upload.size - before):  # known only now when it came without a length
            raise _not_its_range(upload)


def check_no_cache(parts: Parts, name: str) -> None:
    """Raises Refusal for a push to a cache of another registry."""
    if parts.caches(name) is not None:
        raise Refusal(405, "UNSUPPORTED", f"{name} is kept from another registry; push it there")


def _announced(request: web.Request, upload: Upload) -> int | None:
    """Bytes of the chunk that Content-Range promises. Raises Refusal where it is not the next one, or has another
    length than the body: then nothing of it is taken."""
    text = request.headers.get("Content-Range", "")
    if not text:
        return None
    found = _RANGE.fullmatch(text)
    if found is None or int(found[1]) != upload.size or int(found[2]) < int(found[1]):
        raise Refusal(416, "BLOB_UPLOAD_INVALID", "chunk is not the next one", where(upload))
    size = int(found[2]) - int(found[1]) + 1
    if request.content_length not in (None, size):
        raise _not_its_range(upload)
    return size


def _not_its_range(upload: Upload) -> Refusal:
    return Refusal(400, "SIZE_INVALID", "chunk has another length than its Content-Range", where(upload))


async def _passed_on(request: web.Request, download: Download, headers: dict[str, str]) -> web.StreamResponse:
    """A blob while it comes. When it is wrong the connection is closed before its end."""
    response = web.StreamResponse(headers={**headers, "Content-Length": str(download.size)})
    await response.prepare(request)
    try:
        async with closing(download.pieces()) as found:
            async for piece in found:
                await response.write(piece)
        await response.write_eof()
    except CortenError:
        if request.transport is not None:
            request.transport.abort()
    return response


@asynccontextmanager
async def _held(upload: Upload) -> AsyncIterator[None]:
    try:
        with upload.held():
            yield
    except Conflict as error:
        raise Refusal(409, "BLOB_UPLOAD_INVALID", str(error), where(upload)) from error


async def _pour(request: web.Request, write: Callable[[bytes], None]) -> None:
    """The body into a file; one batch is written and hashed while the next one arrives."""
    batch: list[bytes] = []
    held = 0
    writing: asyncio.Task[None] | None = None
    try:
        async for piece in pieces(request):
            batch.append(piece)
            held += len(piece)
            if held >= _BATCH:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(asyncio.to_thread(write, b"".join(batch)))
                batch, held = [], 0
    finally:
        if writing is not None:
            await asyncio.wait({writing})
        if batch and (writing is None or writing.exception() is None):
            await asyncio.to_thread(write, b"".join(batch))
    if writing is not None:
        writing.result()
