"""Reading what must not have changed: every blob against its digest, and every layer against its blob."""

from __future__ import annotations

import os
import threading

from corten.aio.threads import to_its_end, walking
from corten.errors import CortenError
from corten.images.chain import Layer, layers_of
from corten.images.progress import Emit, status
from corten.images.stock import Stock
from corten.layers import compare, tree
from corten.snapshots.shelf import Draft
from corten.spec.digest import short
from corten.store.leases import Lease


async def blobs(stock: Stock, emit: Emit) -> tuple[dict[str, str], int]:
    """digest to what is wrong, for each blob that is not what its name says; and how many were read."""
    stop = threading.Event()
    damaged: dict[str, str] = {}
    read = 0
    try:
        for digest in sorted(stock.blobs.list()):
            good = await walking(stock.blobs.verify, digest, stop.is_set)
            read += good is not None
            if good is False:
                damaged[digest] = "is damaged: its content has another digest"
                emit(status("Damaged", short(digest)))
    finally:
        stop.set()
    return damaged, read


async def layers(stock: Stock, damaged: dict[str, str], emit: Emit) -> dict[str, str]:
    """ "chain CHAIN" to the first difference, for each tree that is not what its blob unpacks to."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for record in stock.records.all():
        for layer in layers_of(record.layers, record.config.diff_ids):
            known = layer.chain_id in seen or layer.blob.digest in damaged
            if known or not stock.blobs.has(layer.blob.digest) or not _there(stock, layer):
                continue
            seen.add(layer.chain_id)
            emit(status("Comparing", layer.shown))
            with stock.leases.hold() as lease:
                if (what := await _compared(stock, layer, lease)) is not None:
                    found[f"chain {layer.chain_id}"] = what
    return found


def _there(stock: Stock, layer: Layer) -> bool:
    shelf = stock.trees.shelf
    parents = [layer.chain_id, *([layer.parent] if layer.parent else [])]
    return all(shelf.has(name) and shelf.files(shelf.get(name)).is_dir() for name in parents)


async def _compared(stock: Stock, layer: Layer, lease: Lease) -> str | None:
    lease.add("blob", layer.blob.digest)
    lease.add("snapshot", layer.chain_id, *([layer.parent] if layer.parent else []))
    if not stock.blobs.has(layer.blob.digest) or not _there(stock, layer):
        return None  # removed since we looked
    try:
        whole = await again(stock, layer)
    except CortenError as error:
        return str(error)
    try:
        return await walking(_difference, stock, layer, whole)
    finally:
        stock.trees.shelf.discard(whole)


async def again(stock: Stock, layer: Layer) -> Draft:
    """The layer, unpacked once more beside its tree. The draft is the caller's."""
    new = await stock.unpacker.unpack(layer.blob.digest, layer.diff_id, lambda done: None)
    complete = stock.trees.complete
    return await to_its_end(
        lambda: complete(new.draft, layer.parent, new.implied, new.links), stock.trees.shelf.discard
    )


def _difference(stock: Stock, layer: Layer, whole: Draft) -> str | None:
    shelf = stock.trees.shelf
    model = tree.open_directory(os.fsencode(shelf.files(whole)))
    try:
        other = tree.open_directory(os.fsencode(shelf.files(shelf.get(layer.chain_id))))
        try:
            return compare.difference(model, other)
        finally:
            os.close(other)
    finally:
        os.close(model)
