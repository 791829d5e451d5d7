"""`corten.build.shared.CacheMounts`: directories of cache mounts as tars, read and written by confined processes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager

from corten.build.contexts import Contexts
from corten.build.work.caches import CacheDirectory, Caches
from corten.build.work.rooms import Rooms
from corten.kernel import memfd
from corten.spec.mounts import Mount


class CacheArchives:
    """One for the daemon."""

    def __init__(self, rooms: Rooms, caches: Caches, contexts: Contexts) -> None:
        self._rooms = rooms
        self._caches = caches
        self._contexts = contexts

    async def every(self) -> Sequence[CacheDirectory]:
        return await self._caches.every()

    @asynccontextmanager
    async def export(self, id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        with self._caches.held(id) as directory, ExitStack() as stack:
            beside = memfd.holding("extra", ())
            stack.callback(os.close, beside)
            mount = Mount("bind", str(directory), "/", ("bind", "ro"))
            tree = {"mount": mount.entry(), "directory": "", "extra": []}
            request = {"do": "output tar", "epoch": None, "trees": [tree]}
            async with self._rooms.steps.stream(request, [beside]) as streamed:
                yield streamed.pieces()

    async def seed(self, id: str, body: AsyncIterator[bytes], replace: bool) -> None:
        await self._caches.seed(id, lambda directory: self._contexts.fill(directory, body, "cache"), replace)

    async def remove(self, directory: CacheDirectory) -> None:
        await self._caches.remove(directory.name)
