"""An image's layers as a chain of committed trees, and the one place that makes an image record."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from corten.aio.keyed_locks import KeyedLocks
from corten.aio.threads import DISK, run_uncancelled
from corten.errors import Conflict
from corten.images.progress import Emit, Meter, status
from corten.images.streaming_unpack import StreamingUnpack
from corten.images.unpack import Unpacked, Unpacker
from corten.snapshots.stored import StoredTrees
from corten.spec.digest import short
from corten.spec.oci_image import Descriptor, chain_ids
from corten.store.blobs import Blobs

_FLUSH = 0.5  # seconds
STREAMED_FROM = 1 << 20  # bytes: smaller blobs are unpacked once they are complete
Fetch = Callable[[Descriptor], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image to come: its blob, what it must unpack to, and the name of the tree it completes."""

    blob: Descriptor
    diff_id: str
    chain_id: str
    parent: str | None

    @property
    def shown(self) -> str:
        return short(self.blob.digest)


def layers_of(blobs: Sequence[Descriptor], diffs: Sequence[str]) -> list[Layer]:
    chain = chain_ids(diffs)
    parents = (None, *chain)
    return [Layer(blob, diff, name, parent) for blob, diff, name, parent in zip(blobs, diffs, chain, parents)]


class Chains:
    def __init__(self, trees: StoredTrees, unpacker: Unpacker, blobs: Blobs) -> None:
        self._trees = trees
        self._unpacker = unpacker
        self._blobs = blobs
        self._locks: KeyedLocks[str] = KeyedLocks()
        self._flushed = 0.0  # CLOCK_MONOTONIC

    def missing(self, layers: Sequence[Layer]) -> list[Layer]:
        """The layers from the first without a tree on: no tree exists without its parents."""
        for index, layer in enumerate(layers):
            if not self._trees.tree_store.has(layer.chain_id):
                return list(layers[index:])
        return []

    @asynccontextmanager
    async def streaming(self) -> AsyncIterator[StreamingUnpack]:
        """Unpack what arrives meanwhile, and flush it every half second."""
        with self._trees.tree_store.syncing() as sync:
            async with StreamingUnpack(self._unpacker, self._trees.discard, sync) as streaming:
                flushing = asyncio.create_task(self._flush(sync))
                try:
                    yield streaming
                finally:
                    await _stop([flushing])

    async def _flush(self, sync: Callable[[], None]) -> None:
        """Write back while layers are unpacked: the kernel by itself would begin when all is unpacked, or later.

        One flush is for all pulls under way: their number must not multiply the syncs.
        """
        with suppress(OSError):  # the sync that goes before the commit raises it again
            while True:
                await asyncio.sleep(_FLUSH)
                if time.monotonic() - self._flushed < _FLUSH / 2:
                    continue
                self._flushed = math.inf  # under way
                try:
                    await run_uncancelled(sync, pool=DISK)
                finally:
                    self._flushed = time.monotonic()

    async def build(
        self,
        layers: Sequence[Layer],
        fetch: Fetch,
        emit: Emit,
        streaming: StreamingUnpack | None = None,
        known: bool = False,
    ) -> None:
        """Have every tree of the chain. `fetch` brings a blob into the store; fetching and unpacking overlap.

        `streaming` has unpacked layers already; without it they are followed while `fetch` brings them. Of a `known`
        image, one that is on record, only what it lacks is reported, as dockerd does.

        Images that share layers wait for one another: what both lack is one common beginning of their chains, so one
        lock, on the first tree that is missing, is enough. Trees are added when all have unpacked and are on disk.
        """
        async with self._locked(layers) as missing:
            for layer in layers[: len(layers) - len(missing)]:
                if not known:
                    emit(status("Already exists", layer.shown))
                if not self._unpacker.has(layer.blob.digest):  # its tree came from another form of it, or it was lost
                    await fetch(layer.blob)
            for layer in missing:
                emit(status("Pulling fs layer", layer.shown))
            if missing and streaming is not None:
                await self._fill(missing, fetch, emit, streaming)
            elif missing:
                large = [layer.blob.digest for layer in missing if layer.blob.size >= STREAMED_FROM]
                async with self.streaming() as following:
                    with self._blobs.watch(large, following.follow):
                        await self._fill(missing, fetch, emit, following)

    @asynccontextmanager
    async def _locked(self, layers: Sequence[Layer]) -> AsyncIterator[list[Layer]]:
        while missing := self.missing(layers):
            async with self._locks.lock(missing[0].chain_id):
                if self.missing(layers) == missing:
                    yield missing
                    return
        yield []

    async def _fill(self, missing: Sequence[Layer], fetch: Fetch, emit: Emit, streaming: StreamingUnpack) -> None:
        tasks = [asyncio.create_task(self._one(layer, fetch, emit, streaming)) for layer in missing]
        try:
            unpacked = await asyncio.gather(*tasks)
            await run_uncancelled(streaming.sync, pool=DISK)
        except BaseException:
            await _stop(tasks)
            for task in tasks:
                if not task.cancelled() and task.exception() is None:
                    self._trees.discard(task.result().draft)
            raise
        await asyncio.to_thread(self._commit, missing, unpacked)

    async def _one(self, layer: Layer, fetch: Fetch, emit: Emit, streaming: StreamingUnpack) -> Unpacked:
        await fetch(layer.blob)
        meter = Meter(emit, "Extracting", layer.shown, layer.blob.size)
        unpacked = await streaming.take(layer.blob.digest, layer.diff_id)
        if unpacked is None:
            unpacked = await self._unpacker.unpack(layer.blob.digest, layer.diff_id, meter)
        else:
            meter(layer.blob.size)
        emit(status("Pull complete", layer.shown))
        return unpacked

    def _commit(self, layers: Sequence[Layer], unpacked: Sequence[Unpacked]) -> None:
        waiting = list(zip(layers, unpacked))
        try:
            while waiting:
                layer, tree = waiting.pop(0)
                commit(self._trees, tree, layer.chain_id, layer.parent)
        finally:
            for _, tree in waiting:
                self._trees.discard(tree.draft)


def sync_and_commit(
    trees: StoredTrees, unpacked: Unpacked, name: str, parent: str | None, sync: Callable[[], None]
) -> None:
    """Sync the only layer that was unpacked, and commit it as the tree `name`. On an error its draft is discarded."""
    try:
        sync()
    except BaseException:
        trees.discard(unpacked.draft)
        raise
    commit(trees, unpacked, name, parent)


def commit(trees: StoredTrees, unpacked: Unpacked, name: str, parent: str | None) -> None:
    """Commit it as the tree `name`, unless that exists by now. Its files are on disk."""
    try:
        trees.commit(unpacked.draft, name, parent, unpacked.size, unpacked.implied, unpacked.links)
    except Conflict:
        if not trees.tree_store.has(name):
            raise


async def _stop(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
