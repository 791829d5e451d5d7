"""The image store: a content under its names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from corten.build.outputs.contract import Content, Written
from corten.images import keep
from corten.images.store import ImageStore
from corten.spec import platform as platforms
from corten.spec.oci_image import Descriptor, Manifest, chain_ids
from corten.store.leases import Lease


async def blobs(images: ImageStore, found: Content, lease: Lease) -> None:
    """Have the documents as blobs, for as long as the lease or an image has them."""
    lease.add("blob", *found.documents)
    for digest, body in found.documents.items():
        await asyncio.to_thread(images.blobs.put, body, digest)


async def store(images: ImageStore, found: Content, tags: Sequence[str], lease: Lease) -> str:
    """Keep it under these names (canonical); of an index the image of this machine is what they name. Its id.

    Durable when it returns. Layers, and the trees that are there, are leased by the caller meanwhile.
    """
    chosen = _chosen(found)
    await blobs(images, found, lease)
    config = found.documents[chosen.config.digest]
    manifest = Manifest(chosen.manifest.media_type, chosen.config, chosen.made.layers)
    plan = keep.plan(manifest, chosen.manifest.digest, config)
    lease.add("snapshot", *chain_ids(chosen.made.document.diff_ids))
    await images.chains.build(plan.layers, _here, lambda message: None)
    await keep.keep(images, plan, tags, [], _others(found, chosen))
    return plan.id


async def _here(layer: Descriptor) -> None:
    """Every layer of a content is in the store."""


def _chosen(found: Content) -> Written:
    here = platforms.choose([each.made.platform for each in found.images], platforms.host())
    return found.images[here or 0]


def _others(found: Content, chosen: Written) -> list[str]:
    """The index, first, and what it has besides."""
    if found.root == chosen.manifest:
        return []
    own = {chosen.config.digest, chosen.manifest.digest, *(layer.digest for layer in chosen.made.layers)}
    rest = [*found.documents, *(layer.digest for layer in found.layers)]
    return list(dict.fromkeys([found.root.digest, *(digest for digest in rest if digest not in own)]))
