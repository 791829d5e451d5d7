"""Importing: a tar of a root file system becomes an image with one layer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager

from corten.aio.threads import DISK, run_uncancelled, to_disk_thread
from corten.errors import Exhausted
from corten.images import keep as image_keep
from corten.images.arriving import received
from corten.images.chain import sync_and_commit
from corten.images.changes import apply_changes
from corten.images.progress import Emit, status, stream
from corten.images.store import ImageStore
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec import platform as platforms
from corten.spec.docker import times
from corten.spec.image_config import History, ImageConfig, RootFS
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor, Manifest
from corten.spec.reference import Reference
from corten.store.blobs import Ingest
from corten.store.compression import detect
from corten.store.feed import Feed, Readers
from corten.store.leases import Lease

SENT = "-"
_KEPT = {"tar": "", "gzip": "+gzip", "zstd": "+zstd"}  # kept as they come; other compressions are undone


class Importer:
    """Imports images. `imported(image id, name)` is called for each; the name is "" for one without."""

    def __init__(self, store: ImageStore, readers: Readers, imported: Callable[[str, str], None]) -> None:
        self._store = store
        self._readers = readers
        self._imported = imported

    def import_(
        self,
        opened: AbstractAsyncContextManager[AsyncIterator[bytes]],
        origin: str,
        name: Reference | None,
        message: str,
        changes: Iterable[str],
        platform: str | None,
    ) -> AsyncIterator[Json]:
        """`origin` is where the archive comes from: `-` for the request's body, or a URL, for messages."""
        config = apply_changes({}, changes)
        target = platforms.runnable(platform) if platform else platforms.host()

        async def work(emit: Emit) -> None:
            try:
                async with opened as body:
                    if origin != SENT:
                        emit(status(f"Downloading from {origin}"))
                    with self._store.leases.hold() as lease:
                        id = await self._make(body, name, message or f"Imported from {origin}", config, target, lease)
            except Exhausted:
                await to_disk_thread(self._store.collector.everything)
                raise
            emit({"status": id})
            self._imported(id, name.familiar if name else "")

        return stream(work)

    async def _make(
        self,
        body: AsyncIterator[bytes],
        name: Reference | None,
        message: str,
        config: Json,
        target: platforms.Platform,
        lease: Lease,
    ) -> str:
        store, stored = self._store, list[str]()

        def take(feed: Feed, began: Callable[[Ingest], None]) -> Descriptor:
            blob = self._take(feed, lease, began)
            stored.append(blob.digest)
            return blob

        try:
            with store.trees.tree_store.syncing() as sync:
                blob, arrived = await received(self._readers, body, take, store.unpacker.follow, store.trees.discard)
                unpacked = arrived or await store.unpacker.unpack(blob.digest, None, lambda done: None)
                lease.add("snapshot", unpacked.diff_id)
                await run_uncancelled(
                    lambda: sync_and_commit(store.trees, unpacked, unpacked.diff_id, None, sync), pool=DISK
                )
            return await self._record(blob, unpacked.diff_id, name, message, config, target, lease)
        except BaseException:
            lease.release()
            await to_disk_thread(store.collector.discard, stored)
            raise

    def _take(self, feed: Feed, lease: Lease, began: Callable[[Ingest], None]) -> Descriptor:
        """The body as a blob."""
        ingest = self._store.blobs.ingest()
        began(ingest)
        try:
            head = b""
            for piece in feed.decoded(keep=tuple(_KEPT)):
                head = head or bytes(piece[:8])
                ingest.write(piece)
            size = ingest.offset
            lease.add("blob", ingest.digest)
            digest = ingest.commit()
        except BaseException:
            ingest.abort()
            raise
        return Descriptor(oci_image.OCI_LAYER + _KEPT[detect(head)], digest, size)

    async def _record(
        self,
        blob: Descriptor,
        diff_id: str,
        name: Reference | None,
        message: str,
        config: Json,
        target: platforms.Platform,
        lease: Lease,
    ) -> str:
        created = times.rfc3339(times.now())
        text = ImageConfig(
            architecture=target.architecture,
            os=target.os,
            variant=target.variant,
            created=created,
            config=config,
            rootfs=RootFS(diff_ids=(diff_id,)),
            history=(History(created, comment=message),),
        ).to_bytes()
        descriptor = Descriptor(oci_image.OCI_CONFIG, digests.of(text), len(text))
        manifest = Manifest(oci_image.OCI_MANIFEST, descriptor, (blob,))
        body = oci_image.render_manifest(descriptor, manifest.layers)
        lease.add("blob", descriptor.digest, digests.of(body))
        for data in (text, body):
            await asyncio.to_thread(self._store.blobs.put, data)
        plan = image_keep.plan(manifest, digests.of(body), text)
        await image_keep.keep(self._store, plan, [str(name)] if name else [], [])
        return plan.id
