"""Repairs: each fault by itself, checked again before anything is changed. What may be of use to a user is moved to
`<data-root>/quarantine`; deleted is only what can be downloaded or made again."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from corten.aio.threads import DISK, run_uncancelled, to_disk_thread, to_removal_thread
from corten.engine.containers.containers import Containers
from corten.engine.volumes import Volumes
from corten.errors import Conflict, CortenError, NotFound
from corten.images.chain import Layer, layers_of
from corten.images.store import ImageStore
from corten.kernel.sync import sync_directory
from corten.storage import verify
from corten.storage.account import QUARANTINE
from corten.storage.faults import Fault


class Repair:
    def __init__(self, root: Path, containers: Containers, volumes: Volumes, store: ImageStore) -> None:
        self._root = root
        self._containers = containers
        self._volumes = volumes
        self._store = store

    async def repair(self, fault: Fault) -> None:
        """Repair it and set `fault.done`, which stays "" when it is not repairable or the repair failed."""
        if not fault.repairable:
            return
        try:
            fault.done = await self._repair(fault)
        except (CortenError, OSError) as error:
            fault.remedy = f"{fault.remedy} (this failed: {error})"
            fault.repairable = False

    async def _repair(self, fault: Fault) -> str:
        match fault.kind, fault.what:
            case "unused" | "corrupt", "blob":
                return self._blob(fault)
            case "missing", "blob":
                return self._forget_others(fault.name)
            case "unused", "part":
                (self._root / fault.path).unlink(missing_ok=True)
                return "deleted"
            case "unused", "layer":
                await to_disk_thread(self._store.collector.trees)
                return "deleted"
            case "orphaned", "tree":
                return self._tree(fault)
            case "missing" | "corrupt", "layer":
                return await self._layer(fault.name)
            case "missing", "container":
                (self._root / fault.path).mkdir(mode=0o700, exist_ok=True)
                return "an empty directory was made"
            case "orphaned", "volume":
                self._volumes.adopt(fault.name)
                return "it is a volume again"
            case "missing", "volume":
                self._volumes.restore(fault.name)
                return "an empty directory was made"
            case "unused" | "corrupt", "guest":
                trash = self._containers.stores.guest_images.files.trash
                await to_disk_thread(trash.take, self._root / fault.path)
                return "deleted"
            case "unused", "file":
                return await to_removal_thread(self._erase, fault.path)
            case _:
                return self._quarantine(fault.path)

    def _blob(self, fault: Fault) -> str:
        """In the event loop: no image can come to need it between the look and the end."""
        needed = any(fault.name in record.kept for record in self._store.records.all())
        if needed and fault.kind == "corrupt":
            return self._quarantine(fault.path)
        self._store.collector.discard([fault.name])
        return "deleted"

    def _forget_others(self, digest: str) -> str:
        """A blob of another platform, or the index: the image itself is whole without them."""
        for record in self._store.records.all():
            if digest in record.others:
                self._store.records.put(replace(record, others=()))
                self._store.collector.discard(record.others)
        return "forgotten; a pull of all platforms brings them again"

    def _tree(self, fault: Fault) -> str:
        tree_store = self._store.trees.tree_store
        if fault.name in tree_store.keys(False):
            tree_store.remove(fault.name)
        elif not tree_store.remove_unrecorded(fault.path.rpartition("/")[2]):
            raise Conflict("it has come into use")
        return "deleted"

    def _erase(self, path: str) -> str:
        directory, _, name = path.rpartition("/")
        guests = self._containers.stores.guest_images.files
        for trash in (self._store.trees.tree_store.trash, self._volumes.trash, guests.trash):
            if trash.path == self._root / directory and (error := trash.retry(name)):
                raise Conflict(error)
        return "deleted"

    def _quarantine(self, path: str) -> str:
        """Move `path` to the quarantine, under the time and its own name."""
        quarantine = self._root / QUARANTINE
        quarantine.mkdir(mode=0o700, exist_ok=True)
        target = _free(quarantine / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{path.replace('/', '_')[-160:]}")
        os.rename(self._root / path, target)
        sync_directory(quarantine)
        return f"moved to {target.relative_to(self._root)}"

    async def _layer(self, name: str) -> str:
        """Unpack a layer again and replace its tree. Raises Conflict while containers run on it."""
        layer = self._find(name)
        tree_store = self._store.trees.tree_store
        self._refuse_running(name)
        with self._store.leases.hold() as lease:
            lease.add("blob", layer.blob.digest)
            lease.add("snapshot", name, *([layer.parent] if layer.parent else []))
            if not tree_store.has(name):
                await self._build(name)
                return "unpacked again"
            with tree_store.syncing() as sync:
                whole = await verify.unpack_again(self._store, layer)
                try:
                    await run_uncancelled(sync, pool=DISK)
                    self._refuse_running(name)
                    tree_store.replace(name, whole, layer.parent)
                except BaseException:
                    tree_store.discard(whole)
                    raise
        return "unpacked again"

    async def _build(self, name: str) -> None:
        """A chain whose record is gone as well."""
        for record in self._store.records.all():
            if name in record.chain:
                layers = layers_of(record.layers, record.config.diff_ids)

                async def fetch(blob: object) -> None:
                    """What is not here cannot be had from anywhere."""

                await self._store.chains.build(layers, fetch, lambda message: None)
                return

    def _find(self, name: str) -> Layer:
        lacking = ""
        for record in self._store.records.all():
            for layer in layers_of(record.layers, record.config.diff_ids):
                if layer.chain_id == name:
                    if self._store.blobs.has(layer.blob.digest):
                        return layer
                    lacking = f"its blob {layer.blob.digest} is not there either: pull or load the image again"
        raise NotFound(lacking or "no image has it any more")

    def _refuse_running(self, name: str) -> None:
        tree_store = self._store.trees.tree_store
        for container in self._containers.by_id.values():
            if not container.record.state.running or not tree_store.has(container.id):
                continue
            parent = tree_store.get(container.id).parent
            while parent is not None and parent != name:
                parent = tree_store.get(parent).parent if tree_store.has(parent) else None
            if parent == name:
                raise Conflict(f"container {container.record.name} runs on it; stop it first")


def _free(path: Path) -> Path:
    number, chosen = 1, path
    while os.path.lexists(chosen):
        chosen = path.with_name(f"{path.name}.{number}")
        number += 1
    return chosen
