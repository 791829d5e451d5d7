"""A registry: a content under its names, or by its digest alone."""

from __future__ import annotations

from corten.build.bases import Rows, credentials
from corten.build.contract import Client
from corten.build.outputs import store
from corten.build.outputs.contract import Content
from corten.build.outputs.options import ImageOutput
from corten.build.vertices import Row
from corten.images.images import Images
from corten.spec.reference import parse
from corten.store.leases import Lease


async def push(
    images: Images, output: ImageOutput, found: Content, id: str, client: Client, lease: Lease, row: Row
) -> None:
    """All names, one after the other; `id` is that of the stored image, or "". Raises what a registry refuses."""
    await store.blobs(images.store, found, lease)
    for name in output.names:
        reference = parse(name)
        auth = await credentials(client, reference.domain)
        with row.status(f"pushing manifest for {reference.name}@{found.root.digest}"):
            under = found.root.digest if output.by_digest else reference.tag
            rows = Rows(row.digest, row.trace)
            await images.push_content(reference, found.root.digest, under, auth, id, rows)
