"""What all builds of a daemon share."""

from __future__ import annotations

from corten.aio.keyed_locks import KeyedLocks
from corten.build.cache.cache import Cache
from corten.build.contract import Layer
from corten.images.store import ImageStore
from corten.store.leases import Lease


class Parts:
    """The image store, the cache, one lock for each key of a step under way."""

    def __init__(self, store: ImageStore, cache: Cache) -> None:
        self.store = store
        self.cache = cache
        self.locks: KeyedLocks[str] = KeyedLocks()

    def here(self, layer: Layer, lease: Lease) -> bool:
        """Whether a layer is in the store, where it then stays for the lease."""
        if layer.blob is None:
            return True
        lease.add("blob", layer.blob.digest)
        lease.add("snapshot", layer.tree)
        return self.store.trees.tree_store.has(layer.tree) and self.store.blobs.has(layer.blob.digest)
