"""Images of other platforms that are kept with an image, in the index that it came in.

A name means one image: this machine's, where the index has it. The others are kept as they are (`ImageRecord.others`:
the index, then what of it is here), and become images of their own, without a name, when one is needed. Such an image
belongs to the one with the index: it is in no list, and goes with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from corten.errors import CortenError
from corten.images import content, keep
from corten.images.store import ImageStore
from corten.spec import oci_image
from corten.spec import platform as platforms
from corten.spec.oci_image import Descriptor, Manifest
from corten.spec.platform import Platform
from corten.store.blobs import Blobs
from corten.store.images import ImageRecord


@dataclass(frozen=True, slots=True)
class Variant:
    """An image of an index: the entry that names it, and its manifest."""

    entry: Descriptor
    manifest: Manifest

    def here(self, blobs: Blobs) -> bool:
        """Whether all of its content is in the store."""
        return all(blobs.has(each.digest) for each in (self.manifest.config, *self.manifest.layers))


def variants(blobs: Blobs, record: ImageRecord) -> list[Variant]:
    """The images of its index whose manifests are here, in the index's order; none without an index. Attestations are
    no images. Reads blobs."""
    if not record.others:
        return []
    try:
        found = [Variant(*pair) for pair in content.present(blobs, record.others[0])]
    except CortenError:  # the index is lost: `system check` says so
        return []
    return [each for each in found if each.entry.platform is not None and each.entry.platform.os != "unknown"]


def hidden(records: Iterable[ImageRecord], names: Mapping[str, object]) -> set[str]:
    """Ids of images without a name that belong to another one."""
    every = list(records)
    kept = {digest for record in every for digest in record.others}
    return {record.id for record in every if record.id not in names and record.manifest in kept}


def belonging(records: Sequence[ImageRecord], owner: ImageRecord, names: Mapping[str, object]) -> list[ImageRecord]:
    """The images that go with `owner`: those of no other index."""
    rest = {digest for record in records if record.id != owner.id for digest in record.others}
    return [
        record
        for record in records
        if record.id != owner.id
        and record.id not in names
        and record.manifest in owner.others
        and record.manifest not in rest
    ]


async def image(store: ImageStore, record: ImageRecord, wanted: Platform) -> str | None:
    """The id of the image of this platform in the record's index, unpacked now where it is not. None when there is none
    or its content is not here. Raises what an unpacking does."""
    found = await asyncio.to_thread(variants, store.blobs, record)
    chosen = platforms.choose([each.entry.platform for each in found], wanted)
    if chosen is None or not found[chosen].here(store.blobs):
        return None
    return await _unpacked(store, found[chosen])


async def _unpacked(store: ImageStore, variant: Variant) -> str:
    manifest = variant.manifest
    known = store.records.get(manifest.config.digest)
    if known is not None:
        return known.id
    with store.leases.hold() as lease:
        lease.add("blob", variant.entry.digest, manifest.config.digest, *(layer.digest for layer in manifest.layers))

        def plan() -> keep.Plan:
            config = store.blobs.read(manifest.config.digest, oci_image.MAX_CONFIG)
            return keep.plan(manifest, variant.entry.digest, config)

        made = await asyncio.to_thread(plan)
        lease.add("snapshot", *(layer.chain_id for layer in made.layers))
        await store.chains.build(made.layers, _here, lambda message: None)
        await keep.keep(store, made, [], [])
    return made.id


async def _here(layer: Descriptor) -> None:
    """Every layer is in the store."""
