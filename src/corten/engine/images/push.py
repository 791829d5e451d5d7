"""Pushing: the blobs that a registry lacks, then the manifest; with Docker's messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from corten.engine.images.progress import Emit, Meter, status, stream
from corten.errors import NotFound
from corten.registry.client.push import Push
from corten.registry.client.registry import Registry
from corten.spec import oci_image
from corten.spec.digest import short
from corten.spec.oci_image import Descriptor
from corten.spec.reference import Reference, parse
from corten.store.blobs import Blobs
from corten.store.images import ImageRecord, ImageRecords
from corten.store.leases import Leases

Json = dict[str, Any]
_SHOWN = {"there": "Layer already exists", "pushed": "Pushed"}


class Pusher:
    """`pushed(reference)` is told of each tag that has gone."""

    def __init__(
        self,
        registry: Registry,
        blobs: Blobs,
        records: ImageRecords,
        leases: Leases,
        pushed: Callable[[Reference], None],
    ) -> None:
        self._registry = registry
        self._blobs = blobs
        self._records = records
        self._leases = leases
        self._pushed = pushed

    def push(
        self, images: Sequence[tuple[Reference, ImageRecord]], auth: Mapping[str, Any] | None
    ) -> AsyncIterator[Json]:
        """Docker's messages. All references are tags of one repository."""

        async def work(emit: Emit) -> None:
            first = images[0][0]
            emit(status(f"The push refers to repository [{first.name}]"))
            push = Push(self._registry.repository(first, auth), self._blobs)
            for reference, record in images:
                await self._one(push, reference, record, emit)
                self._pushed(reference)

        return stream(work)

    async def _one(self, push: Push, reference: Reference, record: ImageRecord, emit: Emit) -> None:
        with self._leases.hold() as lease:
            lease.add("blob", *record.blobs)
            for digest in record.blobs:
                if not self._blobs.has(digest):
                    raise NotFound(f"blob {digest} of the image is gone; pull or load the image again")
            layers = {layer.digest: layer for layer in reversed(record.layers)}
            for layer in layers.values():
                emit(status("Preparing", short(layer.digest)))
            tasks = [asyncio.create_task(self._layer(push, reference, layer, emit)) for layer in layers.values()]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                if tasks:
                    await asyncio.wait(tasks)
            await self._manifest(push, reference, record, emit)

    async def _layer(self, push: Push, reference: Reference, layer: Descriptor, emit: Emit) -> None:
        shown = short(layer.digest)
        if self._registry.uploads.full():
            emit(status("Waiting", shown))

        def waiting(seconds: float) -> None:
            emit(status(f"Retrying in {max(1, round(seconds))} seconds", shown))

        async with self._registry.uploads:
            sources = self._sources(reference, layer.digest)
            how = await push.blob(layer, sources, Meter(emit, "Pushing", shown, layer.size), waiting)
        emit(status(_SHOWN.get(how) or f"Mounted from {next(iter(sources), '')}", shown))

    def _sources(self, reference: Reference, digest: str) -> dict[str, None]:
        """Other repositories of the same registry that this daemon has seen an image with the layer in."""
        found: dict[str, None] = {}
        names = self._records.names()
        for record in self._records.all():
            if any(layer.digest == digest for layer in record.layers):
                for name in names.get(record.id, ([], []))[1]:
                    other = parse(name)
                    if other.domain == reference.domain and other.path != reference.path:
                        found[other.path] = None
        return found

    async def _manifest(self, push: Push, reference: Reference, record: ImageRecord, emit: Emit) -> None:
        body = await asyncio.to_thread(self._blobs.read, record.manifest, oci_image.MAX_MANIFEST)
        manifest = oci_image.parse_manifest(body)
        size = self._blobs.size(record.id)
        config = Descriptor(oci_image.OCI_CONFIG, record.id, size)
        await push.blob(config, {}, lambda done: None, lambda seconds: None)
        await push.manifest(body, manifest.media_type, reference.tag)
        self._records.put(record, (), (f"{reference.name}@{record.manifest}",))
        emit(status(f"{reference.tag}: digest: {record.manifest} size: {len(body)}"))
        emit({"progressDetail": {}, "aux": {"Tag": reference.tag, "Digest": record.manifest, "Size": len(body)}})
