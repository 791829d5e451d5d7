"""Saving: images as one tar that is both a docker-archive (manifest.json) and an OCI image layout (index.json).

Blobs are written as they are kept, layers compressed as they came: every reader of either format takes that, and what
is loaded again has the digests it had.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container, Sequence
from dataclasses import dataclass
from typing import Any

from corten.aio.sources import closing
from corten.errors import NotFound
from corten.images import content, layout
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec.json import Json
from corten.spec.platform import described
from corten.spec.reference import parse
from corten.store.blobs import Blobs
from corten.store.images import ImageRecord
from corten.store.leases import Leases

SINCE = "org.corten.delta.since"  # annotation of an index entry: the image whose layers are left out


@dataclass(frozen=True, slots=True)
class Base:
    """What the receiver has already: trees by chain id. `name` is the image that they are of, "" when unknown."""

    chains: frozenset[str] = frozenset()
    name: str = ""

    def lacking(self, record: ImageRecord) -> tuple[str, ...]:
        """The image's blobs without the layers that the receiver has."""
        layers = [layer.digest for layer, chain in zip(record.layers, record.chain) if chain not in self.chains]
        return (record.id, record.manifest, *layers)


NOTHING = Base()


@dataclass(frozen=True, slots=True)
class Saved:
    """An image with the canonical tags that it is saved under (none: by its id alone). `index` is the digest of one
    that is saved with all that is here of it, "" for the image alone."""

    record: ImageRecord
    tags: Sequence[str]
    index: str = ""


async def save(blobs: Blobs, leases: Leases, images: Sequence[Saved], base: Base = NOTHING) -> AsyncIterator[bytes]:
    """The tar. With a `base` it is a delta: manifests are whole, and the layers that the base has are left out."""
    with leases.hold() as lease:
        for each in images:
            lease.add("blob", *each.record.kept)
        wanted = dict.fromkeys(digest for each in images for digest in base.lacking(each.record))
        for each in images:
            if each.index:
                wanted |= dict.fromkeys(await asyncio.to_thread(content.parts, blobs, each.index))
        missing = [digest for digest in wanted if not blobs.has(digest)]
        if missing:
            raise NotFound(f"blob {missing[0]} of the image is gone; pull or load the image again")
        for name in ("blobs/", "blobs/sha256/"):
            yield layout.directory(name)
        for digest in wanted:
            async with closing(layout.member(blobs, digest)) as member:
                async for piece in member:
                    yield piece
        for name, document in _documents(blobs, images, base):
            yield layout.file(name, layout.json_of(document))
        yield layout.END


def _documents(blobs: Blobs, images: Sequence[Saved], base: Base) -> list[tuple[str, Any]]:
    repositories: Json = {}
    here = {each.record.id for each in images}
    for each in images:
        for tag in each.tags:
            name, record = parse(tag), each.record
            top = record.layers[-1].digest if record.layers else record.id
            repositories.setdefault(name.familiar_name, {})[name.tag] = digests.split(top)[1]
    manifests = [entry for each in images for entry in _entries(blobs, each)]
    if base.name:
        for entry in manifests:
            entry["annotations"] = {**entry.get("annotations", {}), SINCE: base.name}
    return [
        ("index.json", {"schemaVersion": 2, "mediaType": oci_image.OCI_INDEX, "manifests": manifests}),
        ("manifest.json", [_docker(each.record, each.tags, here) for each in images]),
        ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
        *([("repositories", repositories)] if repositories else []),
    ]


def _docker(record: ImageRecord, tags: Sequence[str], here: Container[str]) -> Json:
    """`here` are the images of the archive: a parent among them is named, as dockerd does."""
    return {
        "Config": layout.path(record.id),
        "RepoTags": [parse(tag).familiar for tag in tags] or None,
        "Layers": [layout.path(layer.digest) for layer in record.layers],
        **({"Parent": record.parent} if record.parent in here else {}),
    }


def _entries(blobs: Blobs, saved: Saved) -> list[Json]:
    """One entry of the index for each name."""
    digest = saved.index or saved.record.manifest
    media_type = oci_image.parse_manifest(blobs.read(digest, oci_image.MAX_MANIFEST)).media_type
    entry: Json = {"mediaType": media_type, "digest": digest, "size": blobs.size(digest)}
    platform = saved.record.config.platform
    if platform is not None and not saved.index:
        entry["platform"] = described(platform)
    return [{**entry, "annotations": layout.named(tag)} for tag in saved.tags] or [entry]
