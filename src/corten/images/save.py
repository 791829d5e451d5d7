"""Saving: images as one tar that is both a docker-archive (manifest.json) and an OCI image layout (index.json).

Blobs are written as they are kept, layers compressed as they came: every reader of either format takes that, and what
is loaded again has the digests it had.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from corten.aio.sources import closing
from corten.errors import Invalid, NotFound
from corten.images import content, layout, variants
from corten.images.lookup import Lookup, shown
from corten.images.store import ImageStore
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec import platform as platforms
from corten.spec.json import Json
from corten.spec.platform import Platform
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


class Saver:
    """`saved` is called with the id of each image that is saved."""

    def __init__(self, store: ImageStore, lookup: Lookup, saved: Callable[[str], None]) -> None:
        self._store = store
        self._lookup = lookup
        self._saved = saved

    def save(
        self, refs: Sequence[str], platform: str | None, since: str, present: Iterable[str]
    ) -> AsyncIterator[bytes]:
        """As `Images.save`."""
        base = Base(frozenset(present))
        if since:
            base = Base(base.chains | set(self._lookup.find(since)[0].chain), shown(since))
        wanted = platforms.parse(platform) if platform else None
        chosen: dict[str, tuple[ImageRecord, dict[str, None]]] = {}
        for ref in refs:
            for record, tag in self._lookup.several(ref):
                record = self._of_platform(record, ref, wanted)
                chosen.setdefault(record.id, (record, {}))[1].update({tag: None} if tag else {})
        if not chosen:
            raise Invalid("no image was named")
        for record, _ in chosen.values():
            record.must_be_whole()
        for record, _ in chosen.values():
            self._saved(record.id)
        alone = wanted is not None or bool(base.chains)
        images = [
            Saved(record, [*tags], "" if alone or not record.others else record.others[0])
            for record, tags in chosen.values()
        ]
        return save(self._store.blobs, self._store.leases, images, base)

    def _of_platform(self, record: ImageRecord, ref: str, wanted: Platform | None) -> ImageRecord:
        """The image itself, or what its index has for that platform. Raises NotFound. Reads blobs."""
        actual = record.config.platform
        if wanted is None or actual is None or platforms.fits(actual, wanted):
            return record
        found = variants.kept(self._store.blobs, record, wanted)
        if found is None:
            raise NotFound(f"image {shown(ref)} is here for {actual}, not for {wanted}")
        return found


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
        entry["platform"] = platforms.described(platform)
    return [{**entry, "annotations": layout.named(tag)} for tag in saved.tags] or [entry]
