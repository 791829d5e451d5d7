"""Where images are kept; what every verb of images works on."""

from __future__ import annotations

from corten.images.chain import Chains
from corten.images.collect import Collector, Kept
from corten.images.unpack import Unpacker, Workers
from corten.snapshots.stored import StoredTrees
from corten.store.blobs import Blobs
from corten.store.database import Database
from corten.store.images import ImageRecords
from corten.store.leases import Leases


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

    def __init__(self, database: Database, blobs: Blobs, trees: StoredTrees, workers: Workers, kept: Kept) -> None:
        self.database = database
        self.blobs = blobs
        self.trees = trees
        self.records = ImageRecords(database)
        self.leases = Leases(lambda names: self.collector.freed(names))
        self.collector = Collector(blobs, self.records, self.leases, trees, kept)
        self.unpacker = Unpacker(blobs, trees, workers)
        self.chains = Chains(trees, self.unpacker, blobs)
