"""What builds left to be used again: records of steps, cache mounts, clients' directories. Shown, pruned, collected."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from corten.aio.threads import to_disk_thread
from corten.build import usage
from corten.build.cache import Cache, Record, chosen
from corten.build.policy import Policy, Rule
from corten.build.trees import KeptTree, Trees
from corten.build.work.caches import CacheDirectory
from corten.errors import Conflict, CortenError, NotFound
from corten.images.store import ImageStore
from corten.spec.docker.filters import Filters
from corten.spec.json import Json

log = logging.getLogger(__name__)


class Mounts(Protocol):
    """Directories of cache mounts (`corten.build.work.caches.Caches`)."""

    async def every(self) -> list[CacheDirectory]: ...

    async def remove(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Item:
    """`row` is how it is shown, `what` it is; `used` and `depth` say what goes first."""

    row: Json
    what: Record | CacheDirectory | KeptTree
    used: float
    depth: int = 0

    @property
    def size(self) -> int:
        size: int = self.row["Size"]
        return size

    @property
    def own(self) -> int:
        """Bytes that no image has as well."""
        return 0 if self.row["Shared"] else self.size


class Kept:
    def __init__(self, store: ImageStore, cache: Cache, mounts: Mounts, trees: Trees, policy: Policy) -> None:
        self._store = store
        self._cache = cache
        self._mounts = mounts
        self._trees = trees
        self._policy = policy

    async def usage(self, filters: Filters) -> list[Json]:
        """Docker's rows, those of steps first, newest use first. Walks the cache mounts."""
        items = await self._items(mounts=True)
        wanted = usage.select((item.row for item in items), filters)
        return [item.row for item in items if item.row["ID"] in wanted]

    async def _items(self, mounts: bool) -> list[_Item]:
        records = {usage.id_of(record): record for record in self._cache.all()}
        rows = usage.rows(records.values(), self._store)
        items = [_Item(row, record, record.used, record.depth) for row in rows for record in [records[row["ID"]]]]
        directories = await self._mounts.every() if mounts else []
        items += [_Item(row, each, each.used) for row, each in zip(usage.mounts(directories), directories)]
        trees = self._trees.every()
        return items + [_Item(row, each, each.used) for row, each in zip(usage.trees(trees), trees)]

    async def prune(self, all: bool, filters: Filters, keep: int) -> tuple[list[str], int]:
        """See `Builds.prune`."""
        items = await self._items(mounts=all)
        free = [item for item in _chosen(items, filters) if all or not item.row["Shared"]]
        return await self._remove(chosen(free, lambda item: item.size, keep))

    async def collect(self) -> None:
        """Do what the policy says."""
        disk = os.statvfs(self._store.trees.tree_store.root)
        try:
            items: list[_Item] | None = None
            mounts = any("exec.cachemount" in rule.filters.get("type", ()) for rule in self._policy.rules)
            for rule in self._policy.rules:
                items = await self._items(mounts) if items is None else items
                if gone := _going(items, rule, disk.f_blocks * disk.f_frsize // 10):
                    deleted, freed = await self._remove(gone)
                    log.info("build cache: %d removed, %d bytes freed", len(deleted), freed)
                    items = None
        except CortenError as error:  # a full disk, say: the next build tries again
            log.warning("the build cache was not collected: %s", error)

    async def _remove(self, items: Sequence[_Item]) -> tuple[list[str], int]:
        """Ids, and bytes that were freed."""
        freed = await self._remove_records([item.what for item in items if isinstance(item.what, Record)])
        deleted = [item.row["ID"] for item in items if isinstance(item.what, Record)]
        for item in items:
            with suppress(Conflict, NotFound):  # a step or a build has it, or another prune removed it meanwhile
                if isinstance(item.what, CacheDirectory):
                    await self._mounts.remove(item.what.name)
                elif isinstance(item.what, KeptTree):
                    await self._trees.remove(item.what.key)
                else:
                    continue
                freed += item.size
                deleted.append(item.row["ID"])
        return deleted, freed

    async def _remove_records(self, records: Sequence[Record]) -> int:
        if not records:
            return 0
        self._cache.remove(record.key for record in records)
        collector = self._store.collector
        trees = await to_disk_thread(collector.trees)
        freed = sum(record.layer.size for record in records if record.layer.tree in trees)
        blobs = {record.layer.blob.digest for record in records if record.layer.blob is not None}
        return freed + await to_disk_thread(collector.discard, blobs)


def _chosen(items: Sequence[_Item], filters: Filters) -> list[_Item]:
    """Those of the filters that no build uses. Raises Invalid for a filter that is unknown."""
    selected = usage.select((item.row for item in items), filters)
    return [item for item in items if item.row["ID"] in selected and not item.row["InUse"]]


def _going(items: Sequence[_Item], rule: Rule, most: int) -> list[_Item]:
    """What a rule removes. Cache mounts are only for one that names their type."""
    named = "exec.cachemount" in rule.filters.get("type", ())
    items = [item for item in items if named or not isinstance(item.what, CacheDirectory)]
    found = [item for item in _chosen(items, rule.filters) if rule.all or not item.row["Shared"]]
    others = sum(item.own for item in items) - sum(item.own for item in found)
    return chosen(found, lambda item: item.own, most if rule.keep is None else rule.keep, others)
