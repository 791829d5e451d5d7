"""`system check`: account for every byte, verify blobs and trees, report what is wrong, repair it on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from corten.aio.threads import to_disk_thread, to_walk_thread
from corten.engine.containers.containers import Containers
from corten.engine.volumes import Volumes
from corten.images.progress import Emit, status, stream
from corten.images.store import ImageStore
from corten.spec.json import Json
from corten.storage import verify
from corten.storage.account import KINDS, Item, Walk, totals
from corten.storage.faults import Fault, find
from corten.storage.known import attribute, known
from corten.storage.repair import Repair

_PASSING = ("unused", "orphaned", "unknown")
_MOMENT = 0.3  # seconds


class Check:
    """Of the data root `root`. `turn`: one at a time, a second one waits for the first."""

    def __init__(
        self, root: Path, containers: Containers, volumes: Volumes, store: ImageStore, turn: asyncio.Lock
    ) -> None:
        self._root = root
        self._containers = containers
        self._volumes = volumes
        self._store = store
        self._turn = turn

    def run(self, repair: bool = False, deep: bool = False, items: bool = False) -> AsyncIterator[Json]:
        """Messages as a pull has them, and the report as {"aux": ...} at the end.

        `deep` unpacks every layer again beside its tree and compares. `items` lists each thing in the report.
        """

        async def work(emit: Emit) -> None:
            async with self._turn:
                emit({"aux": await self._report(repair, deep, items, emit)})

        return stream(work)

    async def _report(self, repair: bool, deep: bool, items: bool, emit: Emit) -> Json:
        store = self._store
        emit(status("Reading every blob"))
        damaged, read = await verify.blobs(store, emit)
        if deep:
            emit(status("Comparing every layer with its blob"))
            damaged |= await verify.layers(store, damaged, emit)
            await to_disk_thread(store.trees.tree_store.drain)  # its drafts are removed before anything is counted
        damaged |= await verify.guest_images(store, self._containers.stores.guest_images, deep, emit)
        emit(status("Counting"))
        walked, faults = await self._look(store, damaged)
        if any(fault.kind in _PASSING for fault in faults):
            faults = await self._still(store, damaged, faults)
        if repair and faults:
            repairing = Repair(self._root, self._containers, self._volumes, store)
            for fault in faults:
                await repairing.repair(fault)
            await to_disk_thread(store.trees.tree_store.drain)
            await to_disk_thread(self._containers.stores.guest_images.files.trash.drain)
            walked, _ = await self._look(store, {})
        return self._shown(walked, faults, items, read)

    async def _still(self, store: ImageStore, damaged: dict[str, str], found: list[Fault]) -> list[Fault]:
        """Those found a moment later as well: what is being made or removed has no owner for an instant."""
        await asyncio.sleep(_MOMENT)
        _, again = await self._look(store, damaged)
        names = {fault.key for fault in again}
        return [fault for fault in found if fault.key in names]

    async def _look(self, store: ImageStore, damaged: dict[str, str]) -> tuple[list[Item], list[Fault]]:
        root = self._root
        walked = await to_walk_thread(lambda: list(Walk(root).items()))
        broken = await to_walk_thread(store.database.faults)
        now = known(root, self._containers, self._volumes, store)
        for item in walked:
            attribute(item, now)
        faults = find(root, store, walked, now, damaged)
        remedy = "stop the daemon and put a copy of the file in its place"
        faults += [
            Fault("corrupt", "database", "", "corten.db", f"corten.db: {text}", remedy, False) for text in broken
        ]
        return walked, faults

    def _shown(self, walked: list[Item], faults: list[Fault], items: bool, read: int) -> Json:
        sums = totals(walked)
        usage = [
            {"Kind": kind, "Bytes": sums[kind][0], "Inodes": sums[kind][1], "Count": sums[kind][2]} for kind in KINDS
        ]
        shown: Json = {
            "Root": str(self._root),
            "Bytes": sum(entry["Bytes"] for entry in usage),
            "Inodes": sum(entry["Inodes"] for entry in usage),
            "Usage": usage,
            "BlobsVerified": read,
            "Problems": [fault.shown() for fault in faults],
        }
        if items:
            shown["Items"] = [
                {"Kind": i.kind, "Path": i.path, "Name": i.owner or i.name, "Bytes": i.bytes, "Inodes": i.inodes}
                for i in walked
            ]
        return shown
