"""Blobs that are downloaded from an upstream: one download for all requests, which read its part as it grows."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from corten.aio.threads import run_uncancelled
from corten.errors import CortenError, Unavailable
from corten.registry.client.registry import Registry as Client
from corten.registry.client.repository import Repository
from corten.registry.server.quotas import FETCHED
from corten.registry.server.store import Store
from corten.spec.oci_image import Descriptor

_log = logging.getLogger(__name__)
_PIECE = 1 << 20
_LOOK = 0.1  # seconds


class Download:
    """Await `started` before the response's head; then read `pieces`. A blob is verified when it is complete: a reader
    gets its last byte only then, so that no client accepts a wrong blob."""

    def __init__(self, part: Path, blob: Path, size: int) -> None:
        self.size = size
        self._part = part
        self._blob = blob
        self._changed = asyncio.Event()
        self._reported = 0
        self._task: asyncio.Task[None] | None = None

    def run(self, task: asyncio.Task[None]) -> None:
        self._task = task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # readers get it from `whole`; without readers it is in the log
        self._notify()

    def progress(self, there: int) -> None:
        if there - self._reported >= _PIECE or there < self._reported or not self._reported:
            self._reported = there
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def _done(self) -> bool:
        return self._task is not None and self._task.done()

    async def whole(self) -> None:
        """Wait until the blob is complete. Raises what the download raised."""
        assert self._task is not None
        await asyncio.shield(self._task)

    async def cancel(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def started(self) -> None:
        while not self._done and not self._reported:
            await self._changed.wait()
        if self._done:
            await self.whole()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The blob's bytes. Raises CortenError when the download fails: what was read so far is not the blob."""
        fd = await asyncio.to_thread(self._open)
        try:
            at = 0
            while at < self.size:
                done, changed = self._done, self._changed
                limit = min(_PIECE, self.size - at - (0 if done else 1))
                piece = await asyncio.to_thread(os.pread, fd, limit, at) if limit else b""
                at += len(piece)
                if done:
                    await self.whole()
                    if not piece:
                        raise Unavailable("the blob is shorter than its manifest says")
                elif not piece:
                    # `changed` is set when bytes have come, which is shortly before they are in the file.
                    with suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), _LOOK)
                if piece:
                    yield piece
            await self.whole()
        finally:
            os.close(fd)

    def _open(self) -> int:
        try:
            return os.open(self._part, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return os.open(self._blob, os.O_RDONLY | os.O_CLOEXEC)


class Downloads:
    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store
        self._running: dict[str, Download] = {}

    def start(self, name: str, repository: Repository, blob: Descriptor) -> Download:
        """The running download of this blob, or a new one. It goes on when all its readers have disconnected."""
        key = f"{name}{FETCHED}{blob.digest}"
        found = self._running.get(key)
        if found is None:
            part = self._store.layout.root / "ingest" / f"{blob.digest.replace(':', '-')}.part"
            found = self._running[key] = Download(part, self._store.layout.blob(blob.digest), blob.size)
            found.run(asyncio.create_task(self._fetch(key, name, repository, blob, found)))
        return found

    async def _fetch(self, key: str, name: str, repository: Repository, blob: Descriptor, download: Download) -> None:
        try:
            await run_uncancelled(partial(self._store.ledger.reserve, name, key, blob.size))
            await self._client.blob(repository, blob, download.progress)
            await asyncio.to_thread(self._store.link, name, blob.digest, key)
        except (CortenError, OSError) as error:
            _log.warning("%s could not be had from its upstream: %s", key, error)
            raise
        finally:
            try:
                await run_uncancelled(partial(self._store.ledger.release, key))
            finally:
                del self._running[key]

    async def close(self) -> None:
        await asyncio.gather(*(each.cancel() for each in list(self._running.values())))
