"""From verified blobs to an image record: what pull, load, import and the built-in image have in common."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from corten.aio.threads import to_disk_thread
from corten.errors import Invalid
from corten.images.chain import Layer, layers_of
from corten.images.store import ImageStore
from corten.spec import oci_image
from corten.spec.docker import times
from corten.spec.image_config import ImageConfig, parse_config
from corten.spec.oci_image import Descriptor
from corten.store.images import ImageRecord


@dataclass(frozen=True, slots=True)
class Plan:
    """An image before its layers are unpacked. `manifest` is a digest."""

    id: str
    manifest: str
    config: ImageConfig
    layers: tuple[Layer, ...]


def plan(manifest: oci_image.Manifest, manifest_digest: str, config: bytes) -> Plan:
    """Check that manifest and configuration agree. Raises Invalid when not, Unsupported for a layer of unknown type."""
    document = parse_config(config)
    diffs = document.diff_ids
    for layer in manifest.layers:
        oci_image.layer_compression(layer)
    if len(diffs) != len(manifest.layers):
        raise Invalid(f"image has {len(manifest.layers)} layers, but its configuration names {len(diffs)}")
    return Plan(manifest.config.digest, manifest_digest, document, tuple(layers_of(manifest.layers, diffs)))


async def keep(
    store: ImageStore,
    image: Plan,
    tags: Sequence[str],
    digests: Sequence[str],
    others: Sequence[str] = (),
    parent: str = "",
) -> None:
    """`record`, and remove in a thread what the image no longer needs."""
    before = record(store, image, tags, digests, others, parent)
    if before:
        await to_disk_thread(store.collector.discard, before)


def record(
    store: ImageStore,
    image: Plan,
    tags: Sequence[str],
    digests: Sequence[str],
    others: Sequence[str] = (),
    parent: str = "",
) -> Sequence[str]:
    """Make the record, once all trees are there. Durable when it returns.

    An image that was here in another form (its layers compressed otherwise) is now kept in this one: the blobs that it
    had are the answer, to be discarded. `others` and `parent`: see `ImageRecord`; without them what was kept stays.
    """
    size = sum(store.trees.tree_store.get(layer.chain_id).size for layer in image.layers)
    blobs: tuple[Descriptor, ...] = tuple(layer.blob for layer in image.layers)
    created = image.config.created or times.NEVER
    known = store.records.get(image.id)
    beside = tuple(others) or (known.others if known is not None else ())
    above = parent or (known.parent if known is not None else "")
    new = ImageRecord(image.id, image.manifest, image.config, blobs, size, created, time.time(), beside, above)
    store.records.put(new, tags, digests)
    return known.kept if known is not None and known.kept != new.kept else ()
