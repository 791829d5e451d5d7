"""Images of other platforms that are kept with an image, in the index that it came in.

A name means one image: this machine's, where the index has it. The others are kept as they are (`ImageRecord.others`:
the index, then what of it is here), and become images of their own, without a name, when one is needed. Such an image
belongs to the one with the index: it is in no list, and goes with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from corten.errors import CortenError
from corten.images import content, keep
from corten.images.store import ImageStore
from corten.spec import oci_image
from corten.spec import platform as platforms
from corten.spec.image_config import parse_config
from corten.spec.oci_image import Descriptor, Manifest
from corten.spec.platform import Platform
from corten.store.blobs import Blobs
from corten.store.images import ImageRecord, ImageRecords


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


def kept(blobs: Blobs, record: ImageRecord, wanted: Platform) -> ImageRecord | None:
    """The image of this platform in the record's index as its blobs say it, whether it is unpacked or not."""
    found = _chosen(variants(blobs, record), wanted)
    if found is None or not found.here(blobs):
        return None
    manifest = found.manifest
    config = parse_config(blobs.read(manifest.config.digest, oci_image.MAX_CONFIG))
    return ImageRecord(manifest.config.digest, found.entry.digest, config, manifest.layers, 0, config.created, 0)


def _chosen(found: Sequence[Variant], wanted: Platform) -> Variant | None:
    at = platforms.choose([each.entry.platform for each in found], wanted)
    return None if at is None else found[at]


@dataclass(frozen=True, slots=True)
class Names:
    """What an image is pulled by (canonical)."""

    tags: Sequence[str]
    digests: Sequence[str]


def beside(records: ImageRecords, before: ImageRecord, image: keep.Plan, names: Names, index: str) -> bool:
    """Whether an image that was pulled belongs to the same index as `before`, which its name means so far."""
    if before.id == image.id or image.manifest == index:
        return False
    return set(names.digests) <= set(records.digests(before.id))


async def keep_beside(store: ImageStore, before: ImageRecord, image: keep.Plan, names: Names, index: str) -> None:
    """Keep both, in one index: the name goes on meaning this machine's image where one of them is. The documents and
    layers of both are in the store."""
    here, actual, old = platforms.host(), image.config.platform, before.config.platform
    newer = actual is not None and platforms.fits(actual, here) and not (old is not None and platforms.fits(old, here))
    added = (image.id, image.manifest, *(layer.blob.digest for layer in image.layers))
    every = dict.fromkeys((index, *before.others, *(before.blobs if newer else added)))
    if newer:
        await keep.keep(store, image, names.tags, names.digests, [each for each in every if each not in added])
        return
    await keep.keep(store, image, [], [])
    if store.records.get(before.id) is None:  # it was removed meanwhile
        return
    own = set(before.blobs)
    store.records.put(replace(before, others=tuple(each for each in every if each not in own)), [], [])


async def image(store: ImageStore, record: ImageRecord, wanted: Platform) -> str | None:
    """The id of the image of this platform in the record's index, unpacked now where it is not. None when there is none
    or its content is not here. Raises what an unpacking does."""
    chosen = _chosen(await asyncio.to_thread(variants, store.blobs, record), wanted)
    if chosen is None or not chosen.here(store.blobs):
        return None
    return await _unpacked(store, chosen)


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
