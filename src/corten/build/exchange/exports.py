"""Caches of a build to where they are asked to go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from corten.aio.sources import closing
from corten.aio.tasks import together
from corten.build.bases import Rows, credentials
from corten.build.contract import Client
from corten.build.exchange import config, records
from corten.build.exchange.options import CacheExport
from corten.build.exchange.records import Exported
from corten.build.outputs.contract import Sink
from corten.build.outputs.form import Layer
from corten.build.outputs.layers import Recoding
from corten.build.vertices import Row
from corten.images import layout
from corten.images.images import Images
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor
from corten.store.leases import Lease


@dataclass(frozen=True, slots=True)
class _Documents:
    """A cache as documents; `layers` are blobs of the store."""

    manifest: Descriptor
    bodies: dict[str, bytes]
    config: Descriptor
    layers: tuple[Descriptor, ...]


class Exports:
    """For one build; `lease` holds the layers of its steps."""

    def __init__(self, images: Images, client: Client, sink: Sink, recoding: Recoding, lease: Lease) -> None:
        self._images = images
        self._client = client
        self._sink = sink
        self._recoding = recoding
        self._lease = lease

    async def deliver(self, export: CacheExport, found: Exported, row: Row) -> dict[str, str]:
        """The answer for the client. Raises what a registry refuses, and what the client's store does."""
        documents = _documents(export, await self._coded(export, found))
        if export.reference is None:
            await self._to_client(export.directory, documents, row)
        else:
            await self._to_registry(export, documents, row)
        return {"cache.manifest": msgspec.json.encode(documents.manifest.to_json()).decode()}

    async def _coded(self, export: CacheExport, found: Exported) -> Exported:
        layers = [Layer(blob, diff) for blob, diff in found.layers]
        coded = await together(self._recoding.layer(layer, export.form, own=True) for layer in layers)
        return records.again(found, {old.blob.digest: new.blob for old, new in zip(layers, coded)})

    async def _to_registry(self, export: CacheExport, documents: _Documents, row: Row) -> None:
        assert export.reference is not None
        self._lease.add("blob", *documents.bodies)
        for digest, body in documents.bodies.items():
            await asyncio.to_thread(self._images.store.blobs.put, body, digest)
        auth = await credentials(self._client, export.reference.domain)
        with row.status(f"writing cache manifest {documents.manifest.digest}"):
            blobs = (*documents.layers, documents.config)
            rows = Rows(row.digest, row.trace)
            await self._images.push_blobs(export.reference, blobs, documents.manifest, auth, rows)

    async def _to_client(self, directory: str, documents: _Documents, row: Row) -> None:
        store = self._sink.contents(f"local:{directory}")
        for blob in documents.layers:
            with row.status(f"writing layer {blob.digest}"):
                async with closing(layout.pieces(self._images.store.blobs, blob.digest)) as pieces:
                    await store.write(blob, pieces)
        for named, blob in (("config", documents.config), ("cache manifest", documents.manifest)):
            with row.status(f"writing {named} {blob.digest}"):
                await store.write(blob, _once(documents.bodies[blob.digest]))


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _documents(export: CacheExport, found: Exported) -> _Documents:
    body = config.render(found.config)
    named = Descriptor(config.MEDIA_TYPE, digests.of(body), len(body))
    docker = export.form.docker
    entries = [_entry(blob, diff, docker) for blob, diff in found.layers]
    unique = list({entry["digest"]: entry for entry in entries}.values())
    if export.index:
        kind = oci_image.DOCKER_LIST if docker else oci_image.OCI_INDEX
        text = oci_image.render_index([*unique, named.to_json()], kind)
    else:
        kind = oci_image.OCI_MANIFEST
        text = oci_image.render_layers(named, unique, kind)
    manifest = Descriptor(kind, digests.of(text), len(text))
    layers = tuple(oci_image.descriptor(entry) for entry in unique)
    return _Documents(manifest, {named.digest: body, manifest.digest: text}, named, layers)


def _entry(blob: Descriptor, diff: str, docker: bool) -> Json:
    kind = oci_image.layer_type(oci_image.layer_compression(blob), docker)
    return {"mediaType": kind, "digest": blob.digest, "size": blob.size, "annotations": {oci_image.DIFF_ID: diff}}
