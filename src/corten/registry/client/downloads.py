"""Blobs straight into the blob store, a few at a time for the whole daemon, each going on where it stood."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import aiohttp

from corten.aio.keyed_locks import KeyedLocks
from corten.aio.threads import run_uncancelled
from corten.errors import Corrupt, Failed, NotFound
from corten.registry.client.errors import Refused
from corten.registry.client.pace import Pace
from corten.registry.client.repository import Repository, Waiting, translate
from corten.registry.client.slots import Slots
from corten.spec.oci_image import Descriptor, is_foreign
from corten.store.blobs import Blobs, Ingest

DOWNLOADS = 3  # as dockerd's max-concurrent-downloads
_BATCH = 2 << 20  # bytes that go to the disk thread at once

Progress = Callable[[int], None]  # called with the bytes that are there


class Downloads:
    """`slots` may be changed at any time."""

    def __init__(self, blobs: Blobs) -> None:
        self.slots = Slots(DOWNLOADS)
        self._blobs = blobs
        self._locks: KeyedLocks[str] = KeyedLocks()

    async def blob(
        self,
        repository: Repository,
        blob: Descriptor,
        progress: Progress | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        """Have the blob in the store, verified. What a former attempt got is kept; one download of a digest at a time.

        Raises NotFound; Unavailable or Failed when the registry does not serve it; Exhausted on a full disk; Corrupt
        when it serves something else.
        """
        async with self._locks.lock(blob.digest):
            if self._blobs.has(blob.digest):
                return
            async with self.slots:
                await self._download(repository, blob, progress or (lambda done: None), waiting)

    async def _ingest(self, digest: str) -> Ingest:
        return await run_uncancelled(lambda: self._blobs.ingest(digest), Ingest.close)

    async def _download(
        self, repository: Repository, blob: Descriptor, progress: Progress, waiting: Waiting | None
    ) -> None:
        ingest = await self._ingest(blob.digest)
        resumed = ingest.offset > 0
        try:
            try:
                await self._fill(repository, blob, ingest, progress, waiting)
            except Corrupt:
                await asyncio.to_thread(ingest.abort)
                if not resumed:
                    raise
                ingest = await self._ingest(blob.digest)  # the old part was bad: once anew
                await self._fill(repository, blob, ingest, progress, waiting)
        except Corrupt:
            await asyncio.to_thread(ingest.abort)
            raise
        except Refused as error:
            if error.refusal.status == 404 and is_foreign(blob):
                where = f"registry {repository.address} has not got it, and no other place is asked for it"
                raise NotFound(f"layer {blob.digest} is foreign ({blob.media_type}): {where}") from error
            raise translate(error, blob.digest, repository.name) from error
        finally:
            await asyncio.shield(asyncio.to_thread(ingest.close))

    async def _fill(
        self, repository: Repository, blob: Descriptor, ingest: Ingest, progress: Progress, waiting: Waiting | None
    ) -> None:
        async def once() -> None:
            await self._receive(repository, blob, ingest, progress)

        if ingest.offset > blob.size:
            ingest.restart()
        if ingest.offset < blob.size or blob.size == 0:
            await repository.retry(once, waiting, lambda: ingest.offset)
        await run_uncancelled(ingest.commit)

    async def _receive(self, repository: Repository, blob: Descriptor, ingest: Ingest, progress: Progress) -> None:
        start = ingest.offset
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            await self._answer(repository, blob, ingest, progress, start, headers)
        except Refused as error:
            if error.refusal.status != 416 or not start:
                raise
            await asyncio.to_thread(ingest.restart)
            await self._answer(repository, blob, ingest, progress, 0, {})
        if ingest.offset < blob.size:
            raise aiohttp.ClientPayloadError(f"{blob.digest} ended after {ingest.offset} of {blob.size} bytes")

    async def _answer(
        self,
        repository: Repository,
        blob: Descriptor,
        ingest: Ingest,
        progress: Progress,
        start: int,
        headers: Mapping[str, str],
    ) -> None:
        async with repository.get(f"blobs/{blob.digest}", headers) as response:
            if start and not _continues(response, start, blob.size):
                if response.status == 206:
                    raise Failed(f"registry answers the wrong range of {blob.digest}")
                await asyncio.to_thread(ingest.restart)
            length = response.content_length
            if length is not None and length != blob.size - ingest.offset:
                wanted = f"the {blob.size} bytes that its manifest says"
                raise Corrupt(f"registry serves {ingest.offset + length} bytes as {blob.digest}, not {wanted}")
            await _pour(response, ingest, blob, progress)


def _continues(response: aiohttp.ClientResponse, start: int, size: int) -> bool:
    return response.status == 206 and response.headers.get("Content-Range", "").replace(" ", "") in (
        f"bytes{start}-{size - 1}/{size}",
        f"bytes{start}-{size - 1}/*",
    )


async def _pour(response: aiohttp.ClientResponse, ingest: Ingest, blob: Descriptor, progress: Progress) -> None:
    """The body into the ingest. The disk thread writes and hashes one batch while the next one arrives."""
    batch: list[bytes] = []
    held, pace = 0, Pace()
    there = ingest.offset
    writing: asyncio.Task[None] | None = None
    try:
        async for chunk in response.content.iter_any():
            batch.append(chunk)
            held += len(chunk)
            pace.took(len(chunk))
            if there + held > blob.size:
                raise Corrupt(f"{blob.digest} is longer than the {blob.size} bytes that its manifest says")
            progress(there + held)
            if held >= _BATCH:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(asyncio.to_thread(ingest.write, b"".join(batch)))
                there, held, batch = there + held, 0, []
    finally:
        if writing is not None:
            await asyncio.wait({writing})
        if batch and (writing is None or writing.exception() is None):
            await asyncio.to_thread(ingest.write, b"".join(batch))
    if writing is not None:
        writing.result()
