"""Pulling: reference to manifest, manifest to layers, layers to trees; with Docker's messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field

from corten.aio.threads import to_disk_thread
from corten.errors import Corrupt, CortenError, Exhausted, Invalid, NotFound, Unsupported
from corten.images import keep as image_keep
from corten.images import variants
from corten.images.content import NESTED, IndexFetch
from corten.images.progress import Emit, Meter, retrying, status, stream
from corten.images.store import ImageStore
from corten.images.variants import Names
from corten.registry.client.documents import Fetched
from corten.registry.client.registry import Registry
from corten.registry.client.repository import Repository, Waiting
from corten.spec import oci_image
from corten.spec import platform as platforms
from corten.spec.digest import short
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor, Index, Manifest
from corten.spec.platform import Platform
from corten.spec.reference import Reference
from corten.store.leases import Lease

_log = logging.getLogger(__name__)
EVERY = "all"  # platforms


@dataclass(slots=True)
class _Pulling:
    """One image to pull. `in_flight` are the digests of its content; `reported`: the client has had a message."""

    reference: Reference
    platform: Platform | None
    every: bool
    emit: Emit
    in_flight: set[str] = field(default_factory=set)
    reported: bool = False


class Puller:
    """Pulls images. `pulled(reference)` is called for each one that is complete."""

    def __init__(self, store: ImageStore, registry: Registry, pulled: Callable[[Reference], None]) -> None:
        self._store = store
        self._registry = registry
        self._pulled = pulled

    def pull(self, reference: Reference, platform: str | None, auth: Json | None) -> AsyncIterator[Json]:
        """Docker's messages. A reference with neither tag nor digest means every tag of the repository.

        The platform EVERY is this machine's, unpacked, and with it everything else that the index has, to be pushed.
        """
        every = platform == EVERY
        wanted = platforms.runnable(platform) if platform and not every else None

        async def work(emit: Emit) -> None:
            sources = self._registry.sources(reference, auth)
            if reference.tag or reference.digest:
                await self._any(sources, _Pulling(reference, wanted, every, emit))
                return
            for tag in await self._tags(sources, reference):
                await self._any(sources, _Pulling(reference.with_tag(tag), wanted, every, emit))

        return stream(work)

    async def _any(self, sources: Sequence[Repository], pulling: _Pulling) -> None:
        """Pull from the first source that has it whole. What a source sent before it failed is kept for the next."""
        for source in sources[:-1]:
            try:
                await self._one(source, pulling)
                return
            except (Exhausted, Unsupported):
                raise  # no other source can fix this
            except CortenError as error:
                _log.info("%s from %s: %s", pulling.reference.familiar, source.address, error)
                if pulling.reported:
                    pulling.emit(status(f"{source.address}: {error}; asking the next"))
        try:
            await self._one(sources[-1], pulling)
        except (Corrupt, Invalid, NotFound, Unsupported):  # of no use: no later attempt would end otherwise
            await to_disk_thread(self._discard, pulling.in_flight)
            raise

    def _discard(self, in_flight: Collection[str]) -> None:
        self._store.collector.discard(in_flight)
        for digest in in_flight:
            self._store.blobs.forget(digest)
        self._store.collector.trees()

    async def _tags(self, sources: Sequence[Repository], reference: Reference) -> list[str]:
        for source in sources[:-1]:
            try:
                return await self._registry.tags(source, reference)
            except CortenError as error:
                _log.info("tags of %s from %s: %s", reference.familiar, source.address, error)
        return await self._registry.tags(sources[-1], reference)

    async def _one(self, repository: Repository, pulling: _Pulling) -> None:
        with self._store.leases.hold() as lease:
            try:
                await self._get(repository, pulling, lease)
            except Exhausted:
                lease.release()
                await to_disk_thread(self._store.collector.everything)
                raise
        self._pulled(pulling.reference)

    async def _get(self, repository: Repository, pulling: _Pulling, lease: Lease) -> None:
        reference, emit = pulling.reference, pulling.emit
        waiting = retrying(emit, reference.digest or reference.tag)
        top = await self._registry.manifest(repository, reference, waiting)
        emit({"status": f"Pulling from {reference.path}", "id": reference.digest or reference.tag})
        pulling.reported = True
        fetched, manifest = await self._for_platform(repository, reference, top, pulling.platform, waiting)
        parts = (fetched.digest, manifest.config.digest, *(layer.digest for layer in manifest.layers))
        lease.add("blob", *parts)
        pulling.in_flight.update(parts)
        image = await self._plan(repository, fetched, manifest, waiting)
        self._check_platform(image, reference, pulling.platform, emit)
        lease.add("snapshot", *(layer.chain_id for layer in image.layers))

        async def fetch(blob: Descriptor) -> None:
            await self._layer(repository, blob, emit)

        known = self._store.records.get(image.id) is not None
        await self._store.chains.build(image.layers, fetch, emit, known=known)
        await asyncio.to_thread(self._store.blobs.put, fetched.body, fetched.digest)
        others: list[str] = []
        if pulling.every and top.digest != fetched.digest:
            whole = IndexFetch(self._registry, self._store.blobs, repository, reference, lease, pulling.in_flight, emit)
            others = await whole.fetch(top)
        await self._keep(image, reference, top, others, lease, emit)

    async def _keep(
        self,
        image: image_keep.Plan,
        reference: Reference,
        top: Fetched,
        others: Sequence[str],
        lease: Lease,
        emit: Emit,
    ) -> None:
        """`top` is what the name stands for: the image's manifest or the index that it came in."""
        name, records = str(reference), self._store.records
        known = records.by_digest(name) if reference.digest else records.by_tag(name)
        names = Names([] if reference.digest else [name], [f"{reference.name}@{top.digest}"])
        before = records.get(known) if known is not None else None
        beside = before is not None and variants.beside(records, before, image, names, top.digest)
        if before is not None and beside:
            lease.add("blob", *before.kept, top.digest)
            await asyncio.to_thread(self._store.blobs.put, top.body, top.digest)
            before = records.get(before.id)  # it may have been removed meanwhile
        if before is not None and beside:
            await variants.keep_beside(self._store, before, image, names, top.digest)
        else:
            await image_keep.keep(self._store, image, names.tags, names.digests, others)
        new = known != image.id
        emit(status(f"Digest: {top.digest}"))
        done = "Downloaded newer image" if new else "Image is up to date"
        emit(status(f"Status: {done} for {reference.familiar}"))

    async def _for_platform(
        self, repository: Repository, reference: Reference, top: Fetched, wanted: Platform | None, waiting: Waiting
    ) -> tuple[Fetched, Manifest]:
        """The manifest itself, through as many indexes as it takes."""
        fetched, here = top, wanted or platforms.host()
        for _ in range(NESTED + 1):
            document = oci_image.parse_manifest(fetched.body, fetched.content_type)
            if isinstance(document, Manifest):
                return fetched, document
            entry = _choose(document, here)
            fetched = await self._registry.manifest(repository, reference.with_digest(entry.digest), waiting)
            if len(fetched.body) != entry.size:
                raise Invalid(f"manifest {entry.digest}: size does not match its descriptor")
        raise Invalid(f"index of {reference.familiar} is nested deeper than {NESTED}")

    async def _plan(
        self, repository: Repository, fetched: Fetched, manifest: Manifest, waiting: Waiting
    ) -> image_keep.Plan:
        config = manifest.config
        oci_image.check_config_type(config)
        if config.size > oci_image.MAX_CONFIG:
            raise Invalid(f"image configuration is larger than {oci_image.MAX_CONFIG} bytes")
        for layer in manifest.layers:  # refuse what is no image before fetching anything of it
            oci_image.layer_compression(layer)
        await self._registry.blob(repository, config, None, waiting)

        def plan() -> image_keep.Plan:
            return image_keep.plan(
                manifest, fetched.digest, self._store.blobs.read(config.digest, oci_image.MAX_CONFIG)
            )

        return await asyncio.to_thread(plan)  # a hostile configuration of 8 MiB takes seconds

    def _check_platform(
        self, image: image_keep.Plan, reference: Reference, wanted: Platform | None, emit: Emit
    ) -> None:
        actual, here = image.config.platform, wanted or platforms.host()
        if actual is None or platforms.fits(actual, here):
            return
        if wanted is not None:
            raise NotFound(
                f"image with reference {reference.familiar} was found but does not match the specified platform: "
                f"wanted {wanted}, actual: {actual}"
            )
        emit(status(f"WARNING: the image's platform ({actual}) does not match this machine's ({here})"))

    async def _layer(self, repository: Repository, blob: Descriptor, emit: Emit) -> None:
        shown = short(blob.digest)
        if not self._store.blobs.has(blob.digest):
            meter = Meter(emit, "Downloading", shown, blob.size)
            await self._registry.blob(repository, blob, meter, retrying(emit, shown))
            emit(status("Verifying Checksum", shown))
        emit(status("Download complete", shown))


def _choose(index: Index, wanted: Platform) -> Descriptor:
    chosen = platforms.choose([entry.platform for entry in index.manifests], wanted)
    if chosen is None and index.manifests and all(entry.platform is None for entry in index.manifests):
        chosen = 0  # some writers leave platforms out; the configuration then says what it is
    if chosen is None:
        raise NotFound(f"no matching manifest for {wanted} in the manifest list entries")
    return index.manifests[chosen]
