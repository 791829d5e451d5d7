"""Loading what `save` writes: docker-archive (manifest.json) and OCI image layout (index.json)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from corten.aio.threads import to_disk_thread
from corten.errors import CortenError, Exhausted, Invalid
from corten.images import content
from corten.images import keep as image_keep
from corten.images.archive import Archive
from corten.images.chain import STREAMED_FROM
from corten.images.delta import Delta, since
from corten.images.progress import Emit, stream
from corten.images.store import ImageStore
from corten.images.streaming_unpack import StreamingUnpack
from corten.spec import digest as digests
from corten.spec import go_json, oci_image
from corten.spec import platform as platforms
from corten.spec.go_types import STRING, STRINGS, Items, Plain, Record
from corten.spec.image_config import ImageConfig, parse_config
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor, Index, Manifest
from corten.spec.platform import Platform
from corten.spec.reference import Reference, parse
from corten.store.blobs import Ingest
from corten.store.compression import detect
from corten.store.feed import Readers
from corten.store.leases import Lease

_MAX_IMAGES = 1000
_TYPES = {"tar": "", "gzip": "+gzip", "zstd": "+zstd"}
_MANIFEST = Items(
    Record(
        "manifestItem",
        "tarexport.manifestItem",
        {
            "Config": STRING,
            "RepoTags": STRINGS,
            "Layers": STRINGS,
            "Parent": Plain("image.ID"),
        },
    ),
    "[]tarexport.manifestItem",
)
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass(frozen=True, slots=True)
class _Loading:
    """An image of an archive. `parent` is the id of another one in it, "" for none; `others` what is kept with it of
    its index (`ImageRecord.others`)."""

    plan: image_keep.Plan
    names: list[Reference]
    parent: str = ""
    others: Sequence[str] = ()


class Loader:
    """Loads images. `loaded(image id, names)` is called for each."""

    def __init__(self, store: ImageStore, readers: Readers, loaded: Callable[[str, list[str]], None]) -> None:
        self._store = store
        self._readers = readers
        self._loaded = loaded

    def load(self, body: AsyncIterator[bytes], quiet: bool, wanted: Sequence[Platform] = ()) -> AsyncIterator[Json]:
        """Only what is for one of the platforms `wanted`, where that is said."""

        async def work(emit: Emit) -> None:
            taken: set[str] = set()
            try:
                with self._store.leases.hold() as lease:
                    async with self._store.chains.streaming() as streaming:

                        def began(ingest: Ingest, size: int) -> None:
                            """Any large file may be a layer: which are, is in the manifest, which may come last."""
                            if size >= STREAMED_FROM:
                                streaming.follow(ingest)

                        archive = Archive(self._store.blobs, lease, began)
                        taken = archive.new
                        await self._readers.run(body, archive.read)
                        for plan in await asyncio.to_thread(self._plans, archive, lease, wanted):
                            await self._keep(plan, lease, emit, quiet, streaming)
            except Exhausted:
                await to_disk_thread(self._store.collector.everything)
                raise
            finally:
                await to_disk_thread(self._store.collector.discard, taken)

        return stream(work)

    async def _keep(
        self,
        loading: _Loading,
        lease: Lease,
        emit: Emit,
        quiet: bool,
        streaming: StreamingUnpack,
    ) -> None:
        plan, names = loading.plan, loading.names
        lease.add("snapshot", *(layer.chain_id for layer in plan.layers))

        def extracting(message: Json) -> None:
            if not quiet and message.get("status") == "Extracting":
                emit({**message, "status": "Loading layer"})

        async def fetch(blob: Descriptor) -> None:
            """It came with the archive."""

        await self._store.chains.build(plan.layers, fetch, extracting, streaming)
        tags = [str(name) for name in names]
        await image_keep.keep(self._store, plan, tags, [], loading.others, loading.parent)
        for name in names:
            emit({"stream": f"Loaded image: {name.familiar}\n"})
        if not names:
            emit({"stream": f"Loaded image ID: {plan.id}\n"})
        self._loaded(plan.id, [name.familiar for name in names])

    def _plans(self, archive: Archive, lease: Lease, wanted: Sequence[Platform]) -> list[_Loading]:
        if "manifest.json" in archive.documents and not _has_index(archive.documents.get("index.json")):
            return [_checked(each, wanted) for each in self._docker(archive, lease)]
        if "index.json" in archive.documents:
            return [_checked(each, wanted) for each in self._layout(archive, lease, wanted)]
        raise Invalid("archive is no image: it has neither manifest.json nor index.json")

    # -------------------------------------------------------------------------------------------- docker-archive

    def _docker(self, archive: Archive, lease: Lease) -> list[_Loading]:
        body = archive.documents["manifest.json"]
        entries, error = go_json.read(go_json.loads(body, "manifest.json"), _MANIFEST)
        if error is not None:
            raise error
        if not entries or len(entries) > _MAX_IMAGES:
            raise Invalid(f"manifest.json names no images, or more than {_MAX_IMAGES}")
        found = [self._docker_image(archive, lease, entry) for entry in entries]
        configs = {loading.plan.id: loading.plan.config for loading in found}
        for loading in found:
            if loading.parent in configs:
                _check_parent(loading, configs[loading.parent])
        return [each if each.parent in configs else replace(each, parent="") for each in found]

    def _docker_image(self, archive: Archive, lease: Lease, entry: Json) -> _Loading:
        names = _names(entry.get("RepoTags", []))
        config_digest = archive.find(entry.get("Config", ""))
        config = self._small(config_digest, oci_image.MAX_CONFIG)
        diffs = parse_config(config).diff_ids
        paths = entry.get("Layers", [])
        if len(paths) != len(diffs):
            raise Invalid(f"image has {len(paths)} layers, but its configuration names {len(diffs)}")
        delta = self._delta(archive, lease)
        layers = tuple(
            delta.layer(path, diff) if (digest := archive.look_up(path)) is None else self._layer(digest)
            for path, diff in zip(paths, diffs)
        )
        manifest = Manifest(
            oci_image.OCI_MANIFEST, Descriptor(oci_image.OCI_CONFIG, config_digest, len(config)), layers
        )
        body = oci_image.render_manifest(manifest.config, layers)
        plan = image_keep.plan(manifest, digests.of(body), config)
        lease.add("blob", plan.manifest)
        archive.new.add(self._store.blobs.put(body))
        return _Loading(plan, names, entry.get("Parent", ""))

    def _delta(self, archive: Archive, lease: Lease) -> Delta:
        name = since(archive.documents.get("index.json", b""))
        return Delta(self._store.blobs, self._store.records, lease, archive.new, name)

    def _layer(self, digest: str) -> Descriptor:
        with open(self._store.blobs.path(digest), "rb") as file:
            kind = detect(file.read(8))
        if kind not in _TYPES:
            raise Invalid(f"layer {digest} is compressed as {kind}, which no image may be")
        return Descriptor(oci_image.OCI_LAYER + _TYPES[kind], digest, self._store.blobs.size(digest))

    # ------------------------------------------------------------------------------------------------ OCI layout

    def _layout(self, archive: Archive, lease: Lease, wanted: Sequence[Platform]) -> list[_Loading]:
        body = archive.documents["index.json"]
        index = oci_image.parse_manifest(body)
        if not isinstance(index, Index) or len(index.manifests) > _MAX_IMAGES:
            raise Invalid("index.json is no index")
        delta = self._delta(archive, lease)
        entries = zip(index.manifests, oci_image.entries(body))
        return [self._layout_image(entry, raw.get("annotations", {}), delta, wanted) for entry, raw in entries]

    def _layout_image(
        self, entry: Descriptor, annotations: Mapping[str, str], delta: Delta, wanted: Sequence[Platform]
    ) -> _Loading:
        digest = entry.digest
        document = oci_image.parse_manifest(self._small(digest, oci_image.MAX_MANIFEST), entry.media_type)
        if isinstance(document, Index):
            return self._of_index(document, digest, annotations, delta, wanted)
        config = self._small(document.config.digest, oci_image.MAX_CONFIG)
        document, digest = delta.complete(document, digest, config)
        return _Loading(image_keep.plan(document, digest, config), _annotated(annotations))

    def _of_index(
        self,
        index: Index,
        digest: str,
        annotations: Mapping[str, str],
        delta: Delta,
        wanted: Sequence[Platform],
    ) -> _Loading:
        """This machine's image, else the first that is there; the rest of the index, or of what is wanted of it, is
        kept with it."""
        here = [each for each in index.manifests if self._store.blobs.has(each.digest)]
        images = [each for each in here if each.platform is None or each.platform.os != "unknown"]
        images = [each for each in images if _fits(each.platform, wanted)]
        if not images:
            text = f" for {', '.join(map(str, wanted))}" if wanted else ""
            raise Invalid(f"archive has no image of the index {digest}{text}")
        chosen = images[platforms.choose([each.platform for each in images], platforms.host()) or 0]
        document = oci_image.parse_manifest(self._small(chosen.digest, oci_image.MAX_MANIFEST))
        if isinstance(document, Index):
            raise Invalid("archive has an index in an index in an index")
        config = self._small(document.config.digest, oci_image.MAX_CONFIG)
        found, manifest = delta.complete(document, chosen.digest, config)
        plan = image_keep.plan(found, manifest, config)
        own = {plan.id, plan.manifest, *(layer.digest for layer in found.layers)}
        others = [each for each in self._parts(digest, images, wanted) if each not in own]
        return _Loading(plan, _annotated(annotations), others=others)

    def _parts(self, index: str, images: Sequence[Descriptor], wanted: Sequence[Platform]) -> Iterable[str]:
        """All of the index that is there, or what is wanted of it: nothing where that is one image."""
        blobs = self._store.blobs
        if not wanted:
            return content.parts(blobs, index)
        if len(images) == 1:
            return ()
        return dict.fromkeys([index, *(part for each in images for part in content.parts(blobs, each.digest))])

    def _small(self, digest: str, limit: int) -> bytes:
        if not self._store.blobs.has(digest):
            raise Invalid(f"archive has no {digest}, which its index or manifest names")
        if self._store.blobs.size(digest) > limit:
            raise Invalid(f"{digest} in the archive is larger than {limit} bytes")
        return self._store.blobs.read(digest, limit)


def _fits(platform: Platform | None, wanted: Sequence[Platform]) -> bool:
    return not wanted or (platform is not None and any(platforms.fits(platform, each) for each in wanted))


def _checked(loading: _Loading, wanted: Sequence[Platform]) -> _Loading:
    """Raises Invalid for an image of another platform."""
    actual = loading.plan.config.platform
    if not _fits(actual, wanted):
        raise Invalid(f"image {loading.plan.id} of the archive is for {actual}, not for {', '.join(map(str, wanted))}")
    return loading


def _has_index(body: bytes | None) -> bool:
    """Whether an archive's index.json leads to indexes: what there is for several platforms is said by these alone."""
    if body is None:
        return False
    found = oci_image.parse_manifest(body)
    return isinstance(found, Index) and any(each.media_type in oci_image.INDEXES for each in found.manifests)


def _check_parent(loading: _Loading, parent: ImageConfig) -> None:
    """As dockerd: a child has the history of its parent and one entry more. Raises Invalid."""
    history, before = loading.plan.config.history, parent.history
    if (history or before) and history[:-1] != before:
        raise Invalid(f"image {loading.parent} is not a valid parent for {loading.plan.id}")


def _names(tags: Sequence[str]) -> list[Reference]:
    names = [parse(tag) for tag in tags]
    if any(name.digest or not name.tag for name in names):
        raise Invalid("manifest.json has RepoTags that are no tags")
    return names


def _annotated(annotations: Mapping[str, str]) -> list[Reference]:
    """The name in an index entry's annotations, when it has one that says both repository and tag."""
    for key in _NAMES:
        text = annotations.get(key, "")
        if ":" in text:
            try:
                name = parse(text)
            except CortenError:
                continue
            if name.tag and not name.digest:
                return [name]
    return []
