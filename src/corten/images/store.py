"""Where images are kept; what every verb of images works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from corten.images.chain import Chains, LayerTrees
from corten.images.collect import Collector
from corten.images.unpack import Unpacker, Workers
from corten.snapshots.tree_store import Draft
from corten.store.blobs import Blobs
from corten.store.database import Database
from corten.store.images import ImageRecords
from corten.store.leases import Leases


class Completing(Protocol):
    """A driver of trees (see `corten.snapshots.overlay.Overlay.complete`)."""

    def complete(
        self, draft: Draft, parent: str | None, implied: Sequence[bytes], links: Sequence[tuple[bytes, bytes]]
    ) -> Draft: ...


class Placed(Protocol):
    """A driver of trees (see `corten.snapshots.contract.Snapshots`)."""

    def places(self, name: str) -> dict[str, str]: ...


class ImageTrees(LayerTrees, Completing, Placed, Protocol):
    """A driver of trees as the store has it."""


class ImageStore:
    """Images, their blobs and their trees.

    records    what an image is: id, names, layers, configuration
    blobs      layers, configurations and manifests by digest
    leases     blobs and trees that work under way needs; without one, what no image has can be collected at any time
    trees      unpacked layers, each over its parent
    unpacker   from a blob to a tree, by confined processes
    chains     from a list of layers to the tree of the last, each layer unpacked once
    collector  removes what no image, container or lease needs
    """

    def __init__(self, database: Database, blobs: Blobs, trees: ImageTrees, workers: Workers) -> None:
        self.database = database
        self.blobs = blobs
        self.trees = trees
        self.records = ImageRecords(database)
        self.leases = Leases(lambda names: self.collector.freed(names))
        self.collector = Collector(blobs, self.records, self.leases, trees)
        self.unpacker = Unpacker(blobs, trees, workers)
        self.chains = Chains(trees, self.unpacker, blobs)
