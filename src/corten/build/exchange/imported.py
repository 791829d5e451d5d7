"""What caches from elsewhere have for the steps of one build.

A record is taken for the step that asks for its key alone, and only when its layers are those of the very tree that the
step is done on, and one more. That one is fetched, unpacked and compared with its digests as any image's layer is, and
the digest of its content, which the keys of later steps are made of, is made here, of what came. What was taken is not
put into this daemon's own cache: a build that was not asked to use a cache gets nothing of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from corten.aio.threads import DISK, run_uncancelled
from corten.build.contract import Layer
from corten.build.exchange import config
from corten.build.exchange.config import CacheConfig, CacheResult
from corten.build.exchange.places import Place
from corten.errors import Corrupt, CortenError, Exhausted, Invalid
from corten.images.chain import layers_of
from corten.images.pump import check_size
from corten.images.store import ImageStore
from corten.layers.timeless import Timeless
from corten.spec import oci_image
from corten.spec import platform as platforms
from corten.spec.docker import times
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor, chain_ids
from corten.store.blobs import Blobs
from corten.store.compression import Decoder
from corten.store.leases import Lease
from corten.units.durations import SECOND

_NOTHING = Layer("", "", "", 0, None)
_PIECE = 1 << 20
_OF_INDEX = 64  # images of one index whose caches are looked at


@dataclass(frozen=True, slots=True)
class Source:
    """One cache. `blobs` and `diff_ids` are by the digest of a layer's blob."""

    place: Place
    config: CacheConfig
    blobs: dict[str, Descriptor]
    diff_ids: dict[str, str]

    def layers(self, result: CacheResult) -> tuple[list[Descriptor], list[str]] | None:
        """Blobs and diff ids of a result, lowest first; None when the cache does not have them all."""
        chain = self.config.chain(result.layer)
        if any(digest not in self.blobs or digest not in self.diff_ids for digest in chain):
            return None
        return [self.blobs[digest] for digest in chain], [self.diff_ids[digest] for digest in chain]


async def load(place: Place) -> Source:
    """What a place has. Raises Invalid for what is no cache, and what the place raises."""
    body = await place.manifest()
    document = oci_image.parse_manifest(body)
    entries = oci_image.blobs_of(body)
    named = [each for each in entries if each.get("mediaType") == config.MEDIA_TYPE]
    if isinstance(document, oci_image.Manifest):
        if document.config.media_type == config.MEDIA_TYPE:
            return await _cache(place, document.config, entries)
        return await _inline(place, document)
    if named:
        return await _cache(place, oci_image.descriptor(named[0]), entries)
    chosen = platforms.choose([each.platform for each in document.manifests[:_OF_INDEX]], platforms.host())
    if chosen is None:
        raise Invalid(f"the index has no image for {platforms.host()}")
    inner = oci_image.parse_manifest(await place.document(document.manifests[chosen], oci_image.MAX_MANIFEST))
    if not isinstance(inner, oci_image.Manifest):
        raise Invalid("an index in an index is no cache")
    return await _inline(place, inner)


async def _cache(place: Place, named: Descriptor, entries: Sequence[Json]) -> Source:
    found = config.parse(await place.document(named, oci_image.MAX_MANIFEST))
    blobs, diff_ids = dict[str, Descriptor](), dict[str, str]()
    for entry in entries:
        if entry.get("mediaType") in oci_image.LAYERS:
            blob = oci_image.descriptor(entry)
            blobs[blob.digest] = blob
            diff_ids[blob.digest] = str((entry.get("annotations") or {}).get(oci_image.DIFF_ID, ""))
    return Source(place, found, blobs, diff_ids)


async def _inline(place: Place, manifest: oci_image.Manifest) -> Source:
    body = await place.document(manifest.config, oci_image.MAX_CONFIG)
    found, diff_ids = config.parse_inline(body, [layer.digest for layer in manifest.layers])
    blobs = {layer.digest: layer for layer in manifest.layers if layer.media_type in oci_image.LAYERS}
    return Source(place, found, blobs, dict(zip((layer.digest for layer in manifest.layers), diff_ids)))


class Imported:
    """`sources` are by what they are called. `lease` keeps what is taken; `said` gets what went wrong with which."""

    def __init__(
        self, sources: Mapping[str, Source], images: ImageStore, lease: Lease, said: Callable[[str, str], None]
    ) -> None:
        self._sources = sources
        self._images = images
        self._lease = lease
        self._said = said

    async def find(self, key: str, diff_ids: Sequence[str]) -> tuple[Layer, float] | None:
        """What the step of this key has brought on top of these layers, and when: seconds since the epoch, 0 where that
        is not known. None when no cache has it. Raises Exhausted."""
        for name, source in self._sources.items():
            for result in source.config.records.get(key, ()):
                try:
                    if (layer := await self._take(source, result, diff_ids)) is not None:
                        return layer, _seconds(result.created)
                except Exhausted:
                    raise
                except CortenError as error:
                    self._said(name, f"a layer of a cache was not taken: {error}")
        return None

    async def _take(self, source: Source, result: CacheResult, below: Sequence[str]) -> Layer | None:
        found = source.layers(result)
        if found is None:
            return None
        blobs, diff_ids = found
        if diff_ids == [*below]:
            return _NOTHING
        if diff_ids[:-1] != [*below]:
            return None
        return await self._layer(source.place, blobs, diff_ids)

    async def _layer(self, place: Place, blobs: Sequence[Descriptor], diff_ids: Sequence[str]) -> Layer:
        """The topmost of these layers, in the store. Those below are there: they are the tree that the step is on."""
        blob, name = blobs[-1], chain_ids(diff_ids)[-1]
        self._lease.add("blob", blob.digest)
        self._lease.add("snapshot", name)
        await place.fetch(blob)
        await self._images.chains.build(layers_of(blobs, diff_ids)[-1:], _there, lambda message: None)
        content = await run_uncancelled(lambda: self._content(blob, diff_ids[-1]), pool=DISK)
        size = self._images.trees.tree_store.get(name).size
        return Layer(diff_ids[-1], name, content, size, blob)

    def _content(self, blob: Descriptor, diff_id: str) -> str:
        """The digest of what is in a layer without times, as `images.packed` makes it.

        Raises Corrupt for a blob that is not what the cache says, Invalid for one that looks like a zip bomb: the tree
        may be here already, from another one.
        """
        timeless, hash_, size = Timeless(), hashlib.sha256(), 0
        compressed = self._images.blobs.size(blob.digest)
        for piece in _decoded(self._images.blobs, blob):
            size += len(piece)
            check_size(blob.digest, size, compressed)
            hash_.update(piece)
            timeless.update(piece)
        if "sha256:" + hash_.hexdigest() != diff_id:
            raise Corrupt(f"blob {blob.digest} of a cache is not the layer that it says")
        return timeless.digest


def _decoded(blobs: Blobs, blob: Descriptor) -> Iterator[bytes]:
    decoder = Decoder(oci_image.layer_compression(blob))
    with open(blobs.path(blob.digest), "rb") as file:
        while piece := file.read(_PIECE):
            yield decoder.feed(piece)
            while decoder.pending:
                yield decoder.feed(b"")
    decoder.finish()


async def _there(blob: Descriptor) -> None:
    """It was fetched."""


def _seconds(created: str) -> float:
    try:
        return max(0.0, times.parse_time(created) / SECOND) if created else 0
    except (Invalid, ValueError):
        return 0
