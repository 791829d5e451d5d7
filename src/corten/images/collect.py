"""What no image, no container and no work in flight needs any more.

Three modules take things away. This one knows parts, blobs and trees: it erases those that nobody needs, whoever asks
(a removed image, a pull that failed, the garbage collection), and never decides that an image goes. `policy` decides
that, from numbers alone: it touches no disk and no record. `gc` is the one that acts: it counts what there is, has
`policy` judge, removes the images that are to go as `rmi` would, and has this module sweep up behind them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress

from corten.errors import NotFound
from corten.images.chain import LayerTrees
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
        self.under_way: Counter[str] = Counter()

    @contextmanager
    def leaving(self, record: ImageRecord) -> Iterator[None]:
        """Around the end of an image: what was its is `under_way` out, and no find of a check."""
        names = (*record.kept, *record.chain)
        self.under_way.update(names)
        try:
            yield
        finally:
            self.under_way.subtract(names)
            self.under_way = +self.under_way

    def freed(self, names: Collection[tuple[str, str]]) -> None:
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
        freed = sum(trees[name].size for name in idle - self._leases.held("snapshot", idle))
        for digest in blobs:
            with suppress(NotFound):  # somebody was quicker
                freed += self._blobs.size(digest)
        return freed

    def _idle(self) -> set[str]:
        """Committed trees that are part of no image and under no container."""
        tree_store = self._trees.tree_store
        keep = {name for record in self.records.all() for name in record.chain} | tree_store.ancestors_in_use()
        return set(tree_store.keys(True)) - keep

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
