"""What all builds of a daemon share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from corten.aio.keyed_locks import KeyedLocks
from corten.build.cache.cache import Cache
from corten.build.contexts import Contexts
from corten.build.contract import Layer, Looks, Repositories, Worker
from corten.build.outputs.contract import TreeReader
from corten.build.work.caches import CacheDirectory
from corten.images.images import Images
from corten.store.leases import Lease


class CacheMounts(Protocol):
    """Directories of `RUN --mount=type=cache`, by the mounts' ids."""

    async def every(self) -> Sequence[CacheDirectory]: ...

    def export(self, id: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """As a tar, with owners. It stays meanwhile. Raises NotFound, what a helper process raises."""

    async def seed(self, id: str, body: AsyncIterator[bytes], replace: bool) -> None:
        """Make one of a tar, compressed or not. Raises Conflict where it is there and not to be replaced, or in use;
        Invalid for what is no tar or has an entry that is refused."""

    async def remove(self, directory: CacheDirectory) -> None:
        """Raises NotFound, Conflict while a step has it."""


class Workers(Protocol):
    """Makes what does the work of builds (`corten.build.work.work.Work`). Each is loaded when it is asked for first."""

    def worker(self, lease: Lease, allowed: Collection[str] = ()) -> Worker:
        """For a build with these entitlements ("network.host"), whose results are held by the lease."""

    def reader(self) -> TreeReader:
        """What reads trees for outputs."""

    def looks(self) -> Looks:
        """What looks into trees."""

    def repositories(self) -> Repositories:
        """What asks git."""

    def cache_mounts(self) -> CacheMounts:
        """What reads and fills directories of cache mounts."""


class Shared:
    """The image store, the cache, the contexts, what does the work, and one lock for each key of a step under way."""

    def __init__(self, images: Images, cache: Cache, contexts: Contexts, workers: Workers) -> None:
        self.images = images
        self.cache = cache
        self.contexts = contexts
        self.workers = workers
        self.locks: KeyedLocks[str] = KeyedLocks()

    def here(self, layer: Layer, lease: Lease) -> bool:
        """Whether a layer is in the store, where it then stays for the lease."""
        if layer.blob is None:
            return True
        lease.add("blob", layer.blob.digest)
        lease.add("snapshot", layer.tree)
        store = self.images.store
        return store.trees.tree_store.has(layer.tree) and store.blobs.has(layer.blob.digest)
