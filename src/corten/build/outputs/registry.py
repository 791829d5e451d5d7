"""A registry: a content under its names, or by its digest alone."""

from __future__ import annotations

from corten.build.bases import credentials
from corten.build.contract import Client, Trace
from corten.build.outputs import store
from corten.build.outputs.contract import Content
from corten.build.outputs.options import ImageOutput
from corten.build.vertices import status
from corten.images.images import Images
from corten.spec.reference import parse
from corten.store.leases import Lease


async def push(
    images: Images, output: ImageOutput, found: Content, client: Client, trace: Trace, vertex: str, lease: Lease
) -> None:
    """All names, one after the other. Raises what a registry refuses."""
    await store.blobs(images.store, found, lease)
    for name in output.names:
        reference = parse(name)
        auth = await credentials(client, reference.domain)
        with status(trace, f"pushing manifest for {reference.name}@{found.root.digest}", vertex):
            under = found.root.digest if output.by_digest else reference.tag
            await images.push_content(reference, found.root.digest, under, auth)
