"""What earlier builds have made, as one build may use it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from corten.build.cache.images import CacheImages
from corten.build.contract import CopyStep, Layer
from corten.build.exchange.imported import Imported
from corten.build.plan.graph import Step
from corten.build.shared import Shared
from corten.build.state import State, lines
from corten.store.leases import Lease

Known = tuple[Layer, float]  # and when it was made, seconds since the epoch


class KnownSteps:
    """The daemon's cache, and behind it what `imported` has from elsewhere; `earlier`, where it is given, takes the
    place of both. `lease` keeps what is taken."""

    def __init__(
        self, shared: Shared, lease: Lease, earlier: CacheImages | None = None, imported: Imported | None = None
    ) -> None:
        self._shared = shared
        self._lease = lease
        self._earlier = earlier
        self._imported = imported

    @property
    def elsewhere(self) -> bool:
        """Whether there is a cache from elsewhere: a step that copies from a stage may be in it without the stage."""
        return self._imported is not None

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        """One at a time does the step of a key; others find it then."""
        return self._shared.locks.lock(key)

    async def find(self, key: str, parent: State, said: str) -> Known | None:
        """What the step of this key has brought, whose line in the history is `said`."""
        if self._earlier is not None:
            return self._earlier.find(lines(parent.history), parent.diff_ids, said, self._here)
        record = self._shared.cache.find(key, parent.top or "", self._here)
        if record is None and self._imported is not None:
            return await self._imported.find(key, parent.diff_ids)
        return (record.layer, record.created) if record is not None else None

    async def find_elsewhere(self, definition: str, parent: State) -> Known | None:
        """By the step's definition (`definitions`), of the caches from elsewhere alone."""
        return await self._imported.find(definition, parent.diff_ids) if self._imported is not None else None

    def keep(self, node: Step, key: str, parent: State, layer: Layer, sums: Mapping[str, str]) -> Known:
        """Record what a step has brought, with an older layer of the same content in its place where there is one."""
        if layer.blob is not None:
            self._here(layer)
        timed = isinstance(node.work, CopyStep) and node.work.times is not None  # which an older layer has not
        cache, below = self._shared.cache, parent.top or ""
        if not node.fresh and not timed:
            layer = cache.same(below, layer, self._here)
        record = cache.put(key, below, len(parent.diff_ids), layer, node.name, sums)
        return record.layer, record.created

    def checksum(self, name: str | None) -> str | None:
        """Of sources in a tree that never changes (`keys.source`), where some record has it."""
        return self._shared.cache.sum(name) if name else None

    def _here(self, layer: Layer) -> bool:
        return self._shared.here(layer, self._lease)
