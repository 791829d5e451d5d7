"""Committing: what a container has changed becomes one more layer on the image that it was made from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from corten.aio.threads import DISK, run_uncancelled, to_disk_thread
from corten.errors import Exhausted
from corten.images import keep as image_keep
from corten.images.chain import sync_and_commit
from corten.images.changes import apply_changes
from corten.images.packed import Packed, Packing
from corten.images.store import ImageStore
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec import platform as platforms
from corten.spec.docker import times
from corten.spec.docker.config import Config
from corten.spec.image_config import History, ImageConfig, RootFS
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor, Manifest
from corten.spec.reference import Reference
from corten.store.images import ImageRecord
from corten.store.leases import Lease

_COMMITS = 64  # at a time
# What an image keeps of a container's configuration (OCI image specification, config.md, and Docker's own).
_KEPT = ("user", "exposed_ports", "env", "entrypoint", "cmd", "volumes", "working_dir", "labels", "stop_signal",
         "healthcheck", "on_build", "shell", "args_escaped")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """POST /commit. `config`, whose types are right, takes the place of the container's own, key by key."""

    repo: str = ""
    tag: str = ""
    author: str = ""
    comment: str = ""
    changes: tuple[str, ...] = ()
    pause: bool = True
    config: Config = field(default_factory=Config)


class Committer:
    """Makes images from the changes of containers, 64 at a time."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._packing = Packing(store.blobs, _COMMITS, "commits")

    async def commit(
        self,
        parent: ImageRecord | None,
        layer: AsyncIterator[bytes],
        name: Reference | None,
        wanted: Request,
        container: Config,
        command: str,
        settled: Callable[[], None] = lambda: None,
    ) -> str:
        """The id of the new image. `container` is its configuration, `command` what it ran; `settled` is called once
        its tree has been read."""
        if parent is not None:
            parent.must_be_whole()
        config = apply_changes(_config(container, wanted.config), wanted.changes)
        with self._store.leases.hold() as lease:
            if parent is not None:
                lease.add("blob", *parent.blobs)
                lease.add("snapshot", *parent.chain)
            taken = await self._packing.take(layer, lease)
            settled()
            try:
                return await self._make(parent, taken, name, wanted, config, command, lease)
            except BaseException as error:
                lease.release()
                await to_disk_thread(self._store.collector.discard, [taken.blob.digest])
                if isinstance(error, Exhausted):
                    await to_disk_thread(self._store.collector.everything)
                raise

    async def _make(
        self,
        parent: ImageRecord | None,
        taken: Packed,
        name: Reference | None,
        wanted: Request,
        config: Json,
        command: str,
        lease: Lease,
    ) -> str:
        layers = (*(parent.layers if parent else ()), *(() if taken.empty else (taken.blob,)))
        text = _document(parent, taken, wanted, config, command).to_bytes()
        kind = oci_image.OCI_CONFIG
        manifest = Manifest(oci_image.OCI_MANIFEST, Descriptor(kind, digests.of(text), len(text)), tuple(layers))
        body = oci_image.render_manifest(manifest.config, manifest.layers)
        plan = image_keep.plan(manifest, digests.of(body), text)
        lease.add("blob", *(digests.of(data) for data in (text, body)))
        if not taken.empty:
            top = plan.layers[-1]
            lease.add("snapshot", top.chain_id)
            if not self._store.trees.tree_store.has(top.chain_id):
                with self._store.trees.tree_store.syncing() as sync:
                    unpacked = await self._store.unpacker.unpack(taken.blob.digest, taken.diff_id, lambda done: None)
                    await run_uncancelled(
                        lambda: sync_and_commit(self._store.trees, unpacked, top.chain_id, top.parent, sync), pool=DISK
                    )
        for data in (text, body):
            await asyncio.to_thread(self._store.blobs.put, data)
        await image_keep.keep(self._store, plan, [str(name)] if name else [], [], parent=parent.id if parent else "")
        return plan.id


def _config(container: Config, given: Config) -> Json:
    """The container's configuration with what the request says in its place, field by field. Maps are united."""
    merged = {name: getattr(given, name) or getattr(container, name) for name in _KEPT}
    for name in ("labels", "exposed_ports", "volumes"):
        merged[name] = {**(getattr(container, name) or {}), **(getattr(given, name) or {})}
    return {key: value for key, value in Config(**merged).to_json().items() if value}


def _document(parent: ImageRecord | None, taken: Packed, wanted: Request, config: Json, command: str) -> ImageConfig:
    """The image's configuration."""
    before = parent.config if parent else ImageConfig()
    here = platforms.host()
    created = times.rfc3339(times.now())
    entry = History(created, command, wanted.author, wanted.comment, taken.empty)
    return ImageConfig(
        architecture=before.architecture or here.architecture,
        os=before.os or here.os,
        variant=before.variant,
        author=wanted.author,
        created=created,
        config=config,
        rootfs=RootFS(diff_ids=before.diff_ids if taken.empty else (*before.diff_ids, taken.diff_id)),
        history=(*before.history, entry),
    )
