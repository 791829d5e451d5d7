"""What no image, no container and no work in flight needs any more."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

from corten.engine.images.chain import LayerTrees
from corten.store.blobs import Blobs
from corten.store.images import ImageRecord, ImageRecords
from corten.store.leases import Leases

RESUMABLE = 24 * 3600.0  # seconds that what an interrupted pull got is kept for the next one


class Collector:
    def __init__(self, blobs: Blobs, records: ImageRecords, leases: Leases, trees: LayerTrees) -> None:
        self._blobs = blobs
        self.records = records
        self._leases = leases
        self._trees = trees
        leases.on_free = self._freed

    def _freed(self, names: Collection[tuple[str, str]]) -> None:
        """What was to go, and was still leased, is leased no more."""
        self.trees()
        self.discard(name for kind, name in names if kind == "blob")

    def leave(self, record: ImageRecord) -> list[str]:
        """After an image's record is gone: take away those of its trees and blobs that nothing else needs.

        The names of the trees, topmost first.
        """
        gone = self.trees()
        self.discard(record.kept)
        return [name for name in reversed(record.chain) if name in gone]

    def _needed_blobs(self) -> set[str]:
        return {digest for record in self.records.all() for digest in record.kept}

    def trees(self) -> set[str]:
        """Take away every committed tree that is part of no image, under no container and in no work in flight."""
        shelf = self._trees.shelf
        gone: set[str] = set()
        if not self._idle():
            return gone
        with self._leases.closed():
            idle = self._idle()
            held = self._leases.held("snapshot", idle)
            self._leases.later("snapshot", held)
            idle -= held
            for name in sorted(idle, key=lambda name: -len(shelf.lineage(name))):  # children before their parents
                if shelf.remove_if_childless(name):
                    gone.add(name)
        return gone

    def orphans(self, older_than: float = 0) -> int:
        """Bytes that `everything` would free."""
        needed, limit, shelf = self._needed_blobs(), time.time() - older_than, self._trees.shelf
        names = [digest for digest in self._blobs.list() if digest not in needed and self._blobs.time(digest) <= limit]
        idle = set(names) - self._leases.held("blob", names)
        trees = self._idle()
        trees -= self._leases.held("snapshot", trees)
        return sum(self._blobs.size(digest) for digest in idle) + sum(shelf.get(name).size for name in trees)

    def _idle(self) -> set[str]:
        """Committed trees that are part of no image and under no container."""
        shelf = self._trees.shelf
        keep = {name for record in self.records.all() for name in record.chain} | shelf.ancestors_in_use()
        return set(shelf.keys(True)) - keep

    def blobs(self, older_than: float = 0) -> int:
        """Take away blobs of no image that came `older_than` seconds ago or earlier. Bytes freed."""
        limit = time.time() - older_than
        return self.discard(digest for digest in self._blobs.list() if self._blobs.time(digest) <= limit)

    def discard(self, digests: Iterable[str]) -> int:
        """Take away those of these blobs that nothing needs. Bytes freed."""
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
