"""Reading what must not have changed: every blob against its digest, and every layer against its blob."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from corten.aio.threads import run_uncancelled, to_walk_thread
from corten.errors import CortenError
from corten.images.chain import Layer, layers_of
from corten.images.progress import Emit, status
from corten.images.store import ImageStore
from corten.kernel import mount as m
from corten.layers import compare, tree
from corten.snapshots.guest_images import GuestImages
from corten.snapshots.overlay import SETTINGS
from corten.snapshots.tree_store import Draft
from corten.spec.digest import short
from corten.store.leases import Lease


async def blobs(store: ImageStore, emit: Emit) -> tuple[dict[str, str], int]:
    """digest to what is wrong, for each blob that is not what its name says; and how many were read."""
    stop = threading.Event()
    damaged: dict[str, str] = {}
    read = 0
    try:
        for digest in sorted(store.blobs.list()):
            good = await to_walk_thread(store.blobs.verify, digest, stop.is_set)
            read += good is not None
            if good is False:
                damaged[digest] = "is damaged: its content has another digest"
                emit(status("Damaged", short(digest)))
    finally:
        stop.set()
    return damaged, read


async def layers(store: ImageStore, damaged: dict[str, str], emit: Emit) -> dict[str, str]:
    """ "chain CHAIN" to the first difference, for each tree that is not what its blob unpacks to."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for record in store.records.all():
        for layer in layers_of(record.layers, record.config.diff_ids):
            known = layer.chain_id in seen or layer.blob.digest in damaged
            if known or not store.blobs.has(layer.blob.digest) or not _there(store, layer):
                continue
            seen.add(layer.chain_id)
            emit(status("Comparing", layer.shown))
            with store.leases.hold() as lease:
                if (what := await _compared(store, layer, lease)) is not None:
                    found[f"chain {layer.chain_id}"] = what
    return found


async def guest_images(store: ImageStore, images: GuestImages, deep: bool, emit: Emit) -> dict[str, str]:
    """ "guest CHAIN" to what is wrong, for each image for guests that is not what it has to be. `deep`: each is
    made once more and compared."""
    found: dict[str, str] = {}
    for name in sorted(store.trees.tree_store.keys(committed=True)):
        with store.leases.hold() as lease:
            lease.add("snapshot", name)
            try:
                what = await images.fault(name, deep)
            except CortenError as error:
                what = "" if not store.trees.tree_store.has(name) else str(error)
            if what:
                found[f"guest {name}"] = what
                emit(status("Damaged", f"image for guests of {short(name)}"))
    return found


def _there(store: ImageStore, layer: Layer) -> bool:
    tree_store = store.trees.tree_store
    parents = [layer.chain_id, *([layer.parent] if layer.parent else [])]
    return all(tree_store.has(name) and tree_store.whole(name) for name in parents)


async def _compared(store: ImageStore, layer: Layer, lease: Lease) -> str | None:
    lease.add("blob", layer.blob.digest)
    lease.add("snapshot", layer.chain_id, *([layer.parent] if layer.parent else []))
    if not store.blobs.has(layer.blob.digest) or not _there(store, layer):
        return None  # removed since we looked
    try:
        whole = await unpack_again(store, layer)
    except CortenError as error:
        return str(error)
    try:
        return await to_walk_thread(_difference, store, layer, whole)
    finally:
        store.trees.tree_store.discard(whole)


async def unpack_again(store: ImageStore, layer: Layer) -> Draft:
    """The layer, unpacked once more beside its tree. The draft is the caller's."""
    new = await store.unpacker.unpack(layer.blob.digest, layer.diff_id, lambda done: None)
    complete = store.trees.complete
    return await run_uncancelled(
        lambda: complete(new.draft, layer.parent, new.implied, new.links), store.trees.tree_store.discard
    )


def _opened(places: Sequence[str]) -> int:
    """A descriptor of a layer's tree, which may be a few in one another."""
    if len(places) == 1:
        return tree.open_directory(os.fsencode(places[0]))
    return m.new("overlay", (f"lowerdir={':'.join(places)}", *SETTINGS), m.MOUNT_ATTR_RDONLY | m.MOUNT_ATTR_NODEV)


def _difference(store: ImageStore, layer: Layer, whole: Draft) -> str | None:
    tree_store = store.trees.tree_store
    model = tree.open_directory(os.fsencode(tree_store.files(whole)))
    try:
        other = _opened([str(tree_store.files(each)) for each in tree_store.layer(layer.chain_id)])
        try:
            return compare.difference(model, other)
        finally:
            os.close(other)
    finally:
        os.close(model)
