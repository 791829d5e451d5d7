"""What builds left to be used again: records of steps, cache mounts, clients' directories. Shown, pruned, collected."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from corten.aio.threads import to_disk_thread
from corten.build.cache import usage
from corten.build.cache.cache import Cache, Record, chosen
from corten.build.cache.policy import Policy, Rule
from corten.build.cache.usage import CacheRow
from corten.build.trees import KeptTree, Trees
from corten.build.work.caches import CacheDirectory
from corten.errors import Conflict, CortenError, NotFound
from corten.images.store import ImageStore
from corten.spec.docker.filters import Filters

log = logging.getLogger(__name__)


class Mounts(Protocol):
    """Directories of cache mounts (`corten.build.work.caches.Caches`)."""

    async def every(self) -> list[CacheDirectory]: ...

    async def remove(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Item:
    """`row` is how it is shown, `what` it is; `depth` says what goes first of what was used at one time."""

    row: CacheRow
    what: Record | CacheDirectory | KeptTree
    depth: int = 0

    @property
    def used(self) -> float:
        return self.row.used

    @property
    def own(self) -> int:
        """Bytes that no image has as well."""
        return 0 if self.row.shared else self.row.size


class Pruner:
    """One for the daemon. `mounts` are the directories of cache mounts, `trees` those of clients and
    of repositories."""

    def __init__(self, store: ImageStore, cache: Cache, mounts: Mounts, trees: Sequence[Trees], policy: Policy) -> None:
        self._store = store
        self._cache = cache
        self._mounts = mounts
        self._trees = {each.type: each for each in trees}
        self._policy = policy

    async def usage(self, filters: Filters) -> list[CacheRow]:
        """Steps first, newest use first. Walks the cache mounts."""
        return usage.select((item.row for item in await self._items(mounts=True)), filters)

    async def _items(self, mounts: bool) -> list[_Item]:
        records = {usage.id_of(record): record for record in self._cache.all()}
        rows = usage.of_records(records.values(), self._store)
        items = [_Item(row, records[row.id], records[row.id].depth) for row in rows]
        items += [_Item(usage.of_mount(each), each) for each in (await self._mounts.every() if mounts else ())]
        return items + [_Item(usage.of_tree(each), each) for kept in self._trees.values() for each in kept.every()]

    async def prune(self, all: bool, filters: Filters, keep: int) -> tuple[list[str], int]:
        """See `Builds.prune`."""
        items = await self._items(mounts=all)
        free = [item for item in _chosen(items, filters) if all or not item.row.shared]
        return await self._remove(chosen(free, lambda item: item.row.size, keep))

    async def collect(self) -> None:
        """Do what the policy says."""
        disk = os.statvfs(self._store.trees.tree_store.root)
        try:
            items: list[_Item] | None = None
            mounts = any(usage.MOUNT in rule.filters.get("type", ()) for rule in self._policy.rules)
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
        deleted = [item.row.id for item in items if isinstance(item.what, Record)]
        for item in items:
            with suppress(Conflict, NotFound):  # a step or a build has it, or another prune removed it meanwhile
                if isinstance(item.what, CacheDirectory):
                    await self._mounts.remove(item.what.name)
                elif isinstance(item.what, KeptTree):
                    await self._trees[item.what.type].remove(item.what.key)
                else:
                    continue
                freed += item.row.size
                deleted.append(item.row.id)
        return deleted, freed

    async def _remove_records(self, records: Sequence[Record]) -> int:
        if not records:
            return 0
        self._cache.remove(record.key for record in records)
        collector, sizes = self._store.collector, self._store.trees.tree_store.all()
        trees = await to_disk_thread(collector.trees)
        freed = sum(sizes[name].bytes for name in trees if name in sizes)
        blobs = {record.layer.blob.digest for record in records if record.layer.blob is not None}
        return freed + await to_disk_thread(collector.discard, blobs)


def _chosen(items: Sequence[_Item], filters: Filters) -> list[_Item]:
    """Those of the filters that no build uses. Raises Invalid for a filter that is unknown."""
    selected = {row.id for row in usage.select((item.row for item in items), filters)}
    return [item for item in items if item.row.id in selected and not item.row.in_use]


def _going(items: Sequence[_Item], rule: Rule, most: int) -> list[_Item]:
    """What a rule removes. Cache mounts are only for one that names their type."""
    named = usage.MOUNT in rule.filters.get("type", ())
    items = [item for item in items if named or not isinstance(item.what, CacheDirectory)]
    found = [item for item in _chosen(items, rule.filters) if rule.all or not item.row.shared]
    others = sum(item.own for item in items) - sum(item.own for item in found)
    return chosen(found, lambda item: item.own, most if rule.keep is None else rule.keep, others)
