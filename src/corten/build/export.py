"""From what a plan's target is made of to an image in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from corten.aio.threads import to_disk_thread
from corten.build.graph import COPIED, Node, Plan
from corten.build.solver import State
from corten.errors import Invalid
from corten.images import keep
from corten.images.store import ImageStore
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec.docker import times
from corten.spec.image_config import History, ImageConfig, RootFS
from corten.spec.oci_image import Descriptor, Manifest
from corten.spec.platform import Platform
from corten.store.leases import Lease
from corten.units.durations import SECOND


@dataclass(frozen=True, slots=True)
class Made:
    """An image as documents. `id` is the digest of `config`, `digest` that of `manifest`."""

    id: str
    digest: str
    config: bytes
    manifest: bytes
    document: ImageConfig
    layers: tuple[Descriptor, ...]


def document(plan: Plan, states: dict[Node, State], platform: Platform, epoch: int | None) -> ImageConfig:
    """The image's configuration. The same layers with the same settings give the same bytes on any day: what has no
    layer is as old as the layer below it. `epoch` takes the place of all times."""
    before = plan.base.image.config if plan.base.image is not None else ImageConfig()
    history = list(before.history)
    created = before.created
    for entry in plan.entries:
        state = states[entry.step] if entry.step is not None else None
        if state is not None and state.added:
            created = times.rfc3339(int(state.created * SECOND) if epoch is None else epoch * SECOND)
        empty = state is None or not state.added
        said = entry.history
        by = said.created_by.replace(COPIED, state.copied if state is not None else "")
        history.append(History(created, by, said.author, said.comment, empty))
    return ImageConfig(
        architecture=before.architecture or platform.architecture,
        os=before.os or platform.os,
        variant=before.variant or platform.variant,
        created=created,
        author=plan.author or before.author,
        config=plan.config,
        rootfs=RootFS(diff_ids=states[plan.top].diff_ids),
        history=tuple(history),
    )


def made(plan: Plan, states: dict[Node, State], platform: Platform, epoch: int | None = None) -> Made:
    """Raises Invalid for an image that cannot be: more layers than may lie upon another."""
    found = document(plan, states, platform, epoch)
    state = states[plan.top]
    if len(state.diff_ids) > oci_image.MAX_LAYERS:
        raise Invalid(f"the image has {len(state.diff_ids)} layers; {oci_image.MAX_LAYERS} are the most there can be")
    text = found.to_bytes()
    config = Descriptor(oci_image.OCI_CONFIG, digests.of(text), len(text))
    body = oci_image.render_manifest(config, state.blobs)
    return Made(config.digest, digests.of(body), text, body, found, state.blobs)


async def store(images: ImageStore, image: Made, tags: Sequence[str], lease: Lease) -> None:
    """Keep it under these names (canonical). Durable when it returns; its layers are leased meanwhile."""
    lease.add("blob", image.id, image.digest)
    try:
        for data in (image.config, image.manifest):
            await asyncio.to_thread(images.blobs.put, data)
        config = Descriptor(oci_image.OCI_CONFIG, image.id, len(image.config))
        plan = keep.plan(Manifest(oci_image.OCI_MANIFEST, config, image.layers), image.digest, image.config)
        await keep.keep(images, plan, tags, [])
    except BaseException:  # they go with the lease, unless an image has them
        await to_disk_thread(images.collector.discard, [image.id, image.digest])
        raise
