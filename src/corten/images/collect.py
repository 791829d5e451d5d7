"""Removes what no image, no container and no work in flight needs any more.

Three modules remove things. This one handles parts, blobs and trees: it erases those that are unreferenced (after an
image was removed, after a failed pull, in garbage collection), and never decides that an image is removed. While there
is an image whose record cannot be read, it erases no tree and no blob: any of them may be that image's. `policy`
decides that, from numbers alone: it touches no disk and no record. `gc` acts: it counts what there is, calls `policy`,
removes images as `rmi` would, and then has this module erase what they leave.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from typing import Protocol

from corten.errors import NotFound
from corten.snapshots.stored import StoredTrees
from corten.store.blobs import Blobs
from corten.store.images import ImageRecord, ImageRecords
from corten.store.leases import Leases

RESUMABLE = 24 * 3600.0  # seconds that what an interrupted pull got is kept for the next one


class Kept(Protocol):
    """What stays though no image has it: digests of blobs, names of trees."""

    def blobs(self) -> Set[str]: ...

    def trees(self) -> Set[str]: ...


class NothingKept:
    def blobs(self) -> Set[str]:
        return frozenset()

    def trees(self) -> Set[str]:
        return frozenset()


NOTHING_KEPT = NothingKept()


class Collector:
    """`kept` is what others than images keep: the cache of builds."""

    def __init__(self, blobs: Blobs, records: ImageRecords, leases: Leases, trees: StoredTrees, kept: Kept) -> None:
        self.kept = kept
        self._blobs = blobs
        self.records = records
        self._leases = leases
        self._trees = trees
        self.in_removal: Counter[str] = Counter()

    @contextmanager
    def removing(self, record: ImageRecord) -> Iterator[None]:
        """Around an image's removal: its parts are `in_removal`, so that `system check` does not report them."""
        names = (*record.kept, *record.chain)
        self.in_removal.update(names)
        try:
            yield
        finally:
            self.in_removal.subtract(names)
            self.in_removal = +self.in_removal

    def freed(self, names: Collection[tuple[str, str]]) -> None:
        """Remove what was unreferenced but leased, and is leased no more."""
        self.trees()
        self.discard(name for kind, name in names if kind == "blob")

    def remove_unused(self, record: ImageRecord) -> list[str]:
        """After an image's record was deleted: remove those of its trees and blobs that nothing else needs.

        Returns the names of the trees, topmost first.
        """
        gone = self.trees()
        self.discard(record.kept)
        return [name for name in reversed(record.chain) if name in gone]

    def _needed_blobs(self) -> set[str]:
        records = self.records.all()
        needed = {digest for record in records for digest in record.kept} | self.kept.blobs()
        return needed if all(record.whole for record in records) else needed | set(self._blobs.list())

    def trees(self) -> set[str]:
        """Remove every committed tree of no image, no container and no work in flight. Their names."""
        gone: set[str] = set()
        while more := self._idle_trees():  # an earlier form of a layer is idle when the later one is gone
            gone |= more
        return gone

    def _idle_trees(self) -> set[str]:
        tree_store = self._trees.tree_store
        gone: set[str] = set()
        if not self._idle():
            return gone
        with self._leases.closed():
            idle = self._idle()
            held = self._leases.held("snapshot", idle)
            self._leases.later("snapshot", held)
            idle -= held
            for name in sorted(idle, key=lambda name: -len(tree_store.lineage(name))):  # children before their parents
                if tree_store.remove_if_childless(name):
                    gone.add(name)
        return gone

    def orphans(self, older_than: float = 0) -> int:
        """Bytes that `everything` would free, parts of downloads aside."""
        needed, limit, trees = self._needed_blobs(), time.time() - older_than, self._trees.tree_store.all()
        old = {digest for digest in self._blobs.list() if digest not in needed and self._blobs.time(digest) <= limit}
        blobs, idle = old - self._leases.held("blob", old), self._idle() & trees.keys()
        freed = sum(trees[name].bytes for name in idle - self._leases.held("snapshot", idle))
        for digest in blobs:
            with suppress(NotFound):  # removed meanwhile
                freed += self._blobs.size(digest)
        return freed

    def _idle(self) -> set[str]:
        """Committed trees that are part of no image and under no container."""
        tree_store, records = self._trees.tree_store, self.records.all()
        if not all(record.whole for record in records):
            return set()
        keep = {name for record in records for name in record.chain} | tree_store.ancestors_in_use()
        keep |= self.kept.trees()
        return set(tree_store.keys(True)) - keep

    def blobs(self, older_than: float = 0) -> int:
        """Remove blobs of no image that were stored `older_than` seconds ago or earlier. Bytes freed."""
        limit = time.time() - older_than
        return self.discard(digest for digest in self._blobs.list() if self._blobs.time(digest) <= limit)

    def discard(self, digests: Iterable[str]) -> int:
        """Remove those of these blobs that nothing needs. Bytes freed."""
        names = set(digests) - self._needed_blobs()
        if not names:
            return 0
        with self._leases.closed():
            names -= self._needed_blobs()
            held = self._leases.held("blob", names)
            self._leases.later("blob", held)
            names -= held
            aside = [path for digest in names if (path := self._blobs.set_aside(digest)) is not None]
        return sum(self._blobs.erase(path) for path in aside)

    def everything(self, older_than: float = 0) -> int:
        self.trees()
        return self.blobs(older_than) + self._blobs.remove_parts(older_than)
