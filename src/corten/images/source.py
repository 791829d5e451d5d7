"""One repository of a registry, to read from without keeping an image: documents, and blobs into the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corten.registry.client.registry import Registry
from corten.spec.oci_image import INDEXES, MANIFESTS, Descriptor
from corten.spec.reference import Reference


class Source:
    """Raises what a registry refuses: NotFound, Unauthorized; Unavailable, Failed; Corrupt for a wrong digest."""

    def __init__(self, registry: Registry, reference: Reference, auth: Mapping[str, Any] | None) -> None:
        self._registry = registry
        self._reference = reference
        self._repository = registry.repository(reference, auth)

    async def manifest(self) -> bytes:
        """What the reference names."""
        return (await self._registry.manifest(self._repository, self._reference)).body

    async def document(self, blob: Descriptor, limit: int) -> bytes:
        """A small blob, or a manifest by its digest."""
        if blob.media_type in MANIFESTS + INDEXES:
            name = self._reference.with_digest(blob.digest)
            return (await self._registry.manifest(self._repository, name)).body
        return await self._registry.small_blob(self._repository, blob, limit)

    async def fetch(self, blob: Descriptor) -> None:
        """Have a blob in the store, leased by the caller."""
        await self._registry.blob(self._repository, blob)
