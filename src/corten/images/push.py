"""Pushing: the blobs that a registry lacks, then the manifest, or the whole index; with Docker's messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from corten.aio.tasks import together
from corten.errors import NotFound
from corten.images import content
from corten.images.progress import Emit, Meter, retrying, status, stream
from corten.images.store import ImageStore
from corten.registry.client.push import PUSHED, THERE, Push
from corten.registry.client.registry import Registry
from corten.spec import oci_image
from corten.spec import platform as platforms
from corten.spec.digest import short
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor, Index
from corten.spec.platform import Platform
from corten.spec.reference import Reference, parse
from corten.store.images import ImageRecord

_SOURCES = 3  # repositories that are tried for a mount
_SHOWN = {THERE: "Layer already exists", PUSHED: "Pushed"}


class Pusher:
    """Pushes images. `pushed(reference)` is called for each tag that is complete."""

    def __init__(self, store: ImageStore, registry: Registry, pushed: Callable[[Reference], None]) -> None:
        self._store = store
        self._registry = registry
        self._pushed = pushed

    def push(
        self,
        images: Sequence[tuple[Reference, ImageRecord]],
        auth: Mapping[str, Any] | None,
        platform: str | None = None,
    ) -> AsyncIterator[Json]:
        """Docker's messages. All references are tags of one repository.

        An image that came with its whole index goes with it, unless `platform` says which one of it is wanted.
        """
        wanted = platforms.parse(platform) if platform else None

        async def work(emit: Emit) -> None:
            first = images[0][0]
            chosen = [
                (name, record, await asyncio.to_thread(self._chosen, name, record, wanted)) for name, record in images
            ]
            emit(status(f"The push refers to repository [{first.name}]"))
            push = self._registry.push(first, auth)
            for reference, record, digest in chosen:
                await self._one(push, reference, record, digest, emit)
                self._pushed(reference)

        return stream(work)

    async def push_content(
        self, reference: Reference, digest: str, under: str, auth: Mapping[str, Any] | None, emit: Emit
    ) -> None:
        """The manifest or index `digest` with all that it names, under a tag or its digest. All of it is leased.

        Raises NotFound for a blob that is gone, and what the registry refuses.
        """
        await self._document(self._registry.push(reference, auth), reference, digest, under, emit)
        self._pushed(reference)

    async def push_blobs(
        self,
        reference: Reference,
        blobs: Sequence[Descriptor],
        manifest: Descriptor,
        auth: Mapping[str, Any] | None,
        emit: Emit,
    ) -> None:
        """These blobs, which are no image's, and the manifest that names them. Raises what the registry refuses."""
        push = self._registry.push(reference, auth)
        found = {blob.digest: self._sources(reference, blob.digest)[:_SOURCES] for blob in blobs}
        push.mounting(source for sources in found.values() for source in sources)
        await together(self._layer(push, blob, found[blob.digest], emit) for blob in blobs)
        body = await asyncio.to_thread(self._store.blobs.read, manifest.digest, oci_image.MAX_MANIFEST)
        await push.manifest(body, manifest.media_type, reference.tag, retrying(emit, short(manifest.digest)))

    def _chosen(self, reference: Reference, record: ImageRecord, wanted: Platform | None) -> str:
        """The digest of the manifest or index to push."""
        index = record.others[0] if record.others else ""
        if wanted is None:
            return index if index and content.complete(self._store.blobs, index) else record.manifest
        actual = record.config.platform
        if actual is None or platforms.fits(actual, wanted):
            return record.manifest
        entries = [entry for entry, _ in content.manifests(self._store.blobs, index)] if index else []
        fitting = platforms.choose([entry.platform for entry in entries], wanted)
        if fitting is None:
            raise NotFound(
                f"image with reference {reference.familiar} was found but does not provide the specified platform "
                f"({wanted})"
            )
        return entries[fitting].digest

    async def _one(self, push: Push, reference: Reference, record: ImageRecord, digest: str, emit: Emit) -> None:
        with self._store.leases.hold() as lease:
            lease.add("blob", *record.kept)
            size = await self._document(push, reference, digest, reference.tag, emit)
            self._store.records.name_digest(f"{reference.name}@{digest}", record.id)
        emit(status(f"{reference.tag}: digest: {digest} size: {size}"))
        emit({"progressDetail": {}, "aux": {"Tag": reference.tag, "Digest": digest, "Size": size}})

    async def _document(self, push: Push, reference: Reference, digest: str, under: str, emit: Emit) -> int:
        """A manifest with its blobs, or an index with its manifests. The size of the document."""
        body = await asyncio.to_thread(self._store.blobs.read, digest, oci_image.MAX_MANIFEST)
        document = oci_image.parse_manifest(body)
        if isinstance(document, Index):
            for entry in document.manifests:
                await self._document(push, reference, entry.digest, entry.digest, emit)
        else:
            await self._blobs_of(push, reference, document, emit)
        await push.manifest(body, document.media_type, under, retrying(emit, short(digest)))
        return len(body)

    async def _blobs_of(self, push: Push, reference: Reference, manifest: oci_image.Manifest, emit: Emit) -> None:
        layers = {layer.digest: layer for layer in reversed(manifest.layers)}
        for digest in (*layers, manifest.config.digest):
            if not self._store.blobs.has(digest):
                raise NotFound(f"blob {digest} of the image is gone; pull or load the image again")
        sources = {digest: self._sources(reference, digest)[:_SOURCES] for digest in layers}
        push.mounting(source for found in sources.values() for source in found)
        for layer in layers.values():
            emit(status("Preparing", short(layer.digest)))
        await together(self._layer(push, layer, sources[layer.digest], emit) for layer in layers.values())
        config = manifest.config
        await push.blob(config, (), lambda done: None, retrying(emit, short(config.digest)))

    async def _layer(self, push: Push, layer: Descriptor, sources: Sequence[str], emit: Emit) -> None:
        shown = short(layer.digest)
        if self._registry.uploads.full():
            emit(status("Waiting", shown))
        async with self._registry.uploads:
            meter = Meter(emit, "Pushing", shown, layer.size)
            how = await push.blob(layer, sources, meter, retrying(emit, shown))
        emit(status(_SHOWN.get(how, f"Mounted from {how}"), shown))

    def _sources(self, reference: Reference, digest: str) -> list[str]:
        """Other repositories of the same registry that this daemon has seen an image with the layer in."""
        found: dict[str, None] = {}
        names = self._store.records.names()
        for record in self._store.records.all():
            if any(layer.digest == digest for layer in record.layers):
                for name in names.get(record.id, ([], []))[1]:
                    other = parse(name)
                    if other.domain == reference.domain and other.path != reference.path:
                        found[other.path] = None
        return [*found]
