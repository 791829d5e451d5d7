"""What an image store is made of, for those who look at all of it: account, check, garbage collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from corten.images.chain import Chains, LayerTrees
from corten.images.collect import Collector
from corten.images.unpack import Unpacker
from corten.snapshots.shelf import Draft
from corten.store.blobs import Blobs
from corten.store.database import Database
from corten.store.images import ImageRecords
from corten.store.leases import Leases


class Completing(Protocol):
    """A driver of trees (see `corten.snapshots.overlay.Overlay.complete`)."""

    def complete(
        self, draft: Draft, parent: str | None, implied: Sequence[bytes], links: Sequence[tuple[bytes, bytes]]
    ) -> Draft: ...


class StockTrees(LayerTrees, Completing, Protocol):
    """A driver of trees as the store has it."""


@dataclass(frozen=True, slots=True)
class Stock:
    database: Database
    blobs: Blobs
    records: ImageRecords
    leases: Leases
    trees: StockTrees
    unpacker: Unpacker
    chains: Chains
    collector: Collector
