"""Where caches lie: in a registry, in a client's directory, in the image store."""

from __future__ import annotations

import asyncio
from typing import Protocol

from corten.aio.sources import closing
from corten.build.outputs.contract import ClientStore
from corten.errors import Corrupt, Invalid
from corten.images.source import Source
from corten.spec import digest as digests
from corten.spec.oci_image import MAX_MANIFEST, Descriptor
from corten.store.blobs import Blobs
from corten.store.images import ImageRecord


class Place(Protocol):
    """Raises NotFound for what is not there, Corrupt for another content than a digest says, and what a registry or a
    client does."""

    async def manifest(self) -> bytes:
        """What names all the rest."""

    async def document(self, blob: Descriptor, limit: int) -> bytes:
        """A small blob."""

    async def fetch(self, blob: Descriptor) -> None:
        """Have a blob in the store, leased by the caller."""


class InRegistry:
    def __init__(self, source: Source) -> None:
        self._source = source

    async def manifest(self) -> bytes:
        return await self._source.manifest()

    async def document(self, blob: Descriptor, limit: int) -> bytes:
        _check_size(blob, limit)
        return await self._source.document(blob, limit)

    async def fetch(self, blob: Descriptor) -> None:
        await self._source.fetch(blob)


class OfClient:
    """`digest` is that of the manifest."""

    def __init__(self, store: ClientStore, digest: str, blobs: Blobs) -> None:
        self._store = store
        self._digest = digest
        self._blobs = blobs

    async def manifest(self) -> bytes:
        size = await self._store.size(self._digest)
        return await self.document(Descriptor("", self._digest, size), MAX_MANIFEST)

    async def document(self, blob: Descriptor, limit: int) -> bytes:
        _check_size(blob, limit)
        async with closing(self._store.read(blob)) as pieces:
            body = b"".join([piece async for piece in pieces])
        if digests.of(body, digests.split(blob.digest)[0]) != blob.digest:
            raise Corrupt(f"the client's store has something else as {blob.digest}")
        return body

    async def fetch(self, blob: Descriptor) -> None:
        if self._blobs.has(blob.digest):
            return
        ingest = self._blobs.ingest()
        try:
            async with closing(self._store.read(blob)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(ingest.write, piece)
            if ingest.digest != blob.digest:
                raise Corrupt(f"the client's store has something else as {blob.digest}")
            if self._blobs.has(blob.digest):
                ingest.abort()
            else:
                await asyncio.to_thread(ingest.commit)
        except BaseException:
            ingest.abort()
            raise


class InStore:
    """An image that is here."""

    def __init__(self, image: ImageRecord, blobs: Blobs) -> None:
        self._image = image
        self._blobs = blobs

    async def manifest(self) -> bytes:
        return await asyncio.to_thread(self._blobs.read, self._image.manifest, MAX_MANIFEST)

    async def document(self, blob: Descriptor, limit: int) -> bytes:
        return await asyncio.to_thread(self._blobs.read, blob.digest, limit)

    async def fetch(self, blob: Descriptor) -> None:
        return


def _check_size(blob: Descriptor, limit: int) -> None:
    if blob.size > limit:
        raise Invalid(f"blob {blob.digest} of a cache is larger than {limit} bytes")
