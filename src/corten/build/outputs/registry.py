"""A registry: a content under its names, or by its digest alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from corten.build.bases import credentials
from corten.build.contract import Client
from corten.build.outputs import store
from corten.build.outputs.contract import Content
from corten.build.outputs.options import ImageOutput
from corten.images.images import Images
from corten.spec.reference import parse
from corten.store.leases import Lease

Shown = Callable[[str], AbstractContextManager[None]]  # a row of a progress display, around what it is of


async def push(
    images: Images, output: ImageOutput, found: Content, id: str, client: Client, lease: Lease, shown: Shown
) -> None:
    """All names, one after the other; `id` is that of the stored image, or "". Raises what a registry refuses."""
    await store.blobs(images.store, found, lease)
    for name in output.names:
        reference = parse(name)
        auth = await credentials(client, reference.domain)
        with shown(f"pushing manifest for {reference.name}@{found.root.digest}"):
            under = found.root.digest if output.by_digest else reference.tag
            await images.push_content(reference, found.root.digest, under, auth, id)
