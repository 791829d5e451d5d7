"""Garbage collection of images by the policy: on request, after pulls, and every few minutes.

This module says when, and acts: it counts images and free space, asks `policy` which images go, and removes these the
way `rmi` does. Blobs and trees it leaves to `collect`, which removes what no image has, also between two runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from corten.aio.threads import to_disk_thread, to_walk_thread
from corten.errors import CortenError
from corten.images import policy as image_policy
from corten.images.collect import RESUMABLE
from corten.images.images import Images
from corten.images.policy import Decision, Disk, Holding, Policy
from corten.images.store import ImageStore
from corten.images.view import familiar
from corten.spec.docker import times
from corten.spec.json import Json
from corten.store.images import ImageRecord

log = logging.getLogger(__name__)
INTERVAL = 600.0  # seconds


class Gc:
    """The policy is looked up at each run: it can change with the configuration."""

    def __init__(
        self, images: Images, users: Callable[[str], Sequence[str]], policy: Callable[[], Policy], data_root: Path
    ) -> None:
        """`users` gives the names of the containers of an image."""
        self._images = images
        self._users = users
        self._policy = policy
        self._data_root = data_root
        self._turn = asyncio.Lock()

    async def run_periodically(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self._once()
            except Exception:  # a disk that fails now, say, may not the next time
                log.exception("image gc failed; the next attempt is in %d s", INTERVAL)

    async def _once(self) -> None:
        if self._policy().active:
            await self._quietly()
        else:  # what a save or a push still needed when its image was removed
            await to_disk_thread(self._images.store.collector.everything, RESUMABLE)

    async def after_pull(self) -> None:
        """Only when there is less space than is wanted."""
        disk = self._disk()
        if disk.free < self._policy().wanted(disk.total):
            await self._quietly()

    async def _quietly(self) -> None:
        for one in (await self.run())["Removed"]:
            log.info("image gc: removed %s: %s", ", ".join(one["Names"]) or one["Id"], one["Reason"])

    async def run(self, dry: bool = False, asked: Json | None = None) -> Json:
        """What went and why, what stayed and why; `dry` does nothing. `asked` are keys of "image-gc" for this once."""
        policy = image_policy.parse(asked or {}, self._policy())
        async with self._turn:
            store: ImageStore = self._images.store
            disk, records = self._disk(), {record.id: record for record in store.records.all()}
            decisions = image_policy.decide(policy, *self._holdings(store, records), disk, time.time())
            names = {id: self._names(store, id) for id in records}
            if not dry:
                self._images.uses.forget_all_but(records)
            gone = [v for v in decisions if v.goes and (dry or await self._remove(store, v.id))]
            left = [v for v in decisions if not v.goes]
            orphans = await to_walk_thread(store.collector.orphans, RESUMABLE)
            if not dry:
                await to_disk_thread(store.collector.everything, RESUMABLE)
        return {
            "DryRun": dry,
            "Policy": policy.shown(),
            "DiskFree": disk.free,
            "DiskTotal": disk.total,
            "Removed": [_shown(v, names[v.id]) for v in gone],
            "Kept": [_shown(v, names[v.id]) for v in left],
            "Orphans": orphans,
            "SpaceReclaimed": sum(v.bytes for v in gone) + orphans,
        }

    def _disk(self) -> Disk:
        status = os.statvfs(self._data_root)
        return Disk(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)

    def _holdings(self, store: ImageStore, records: dict[str, ImageRecord]) -> tuple[list[Holding], dict[str, int]]:
        """Every image, and the bytes of every part of one."""
        tree_store, sizes, found = store.trees.tree_store, dict[str, int](), []
        for record in records.values():
            sizes |= {layer.digest: layer.size for layer in record.layers}
            sizes |= {name: tree_store.size(name) for name in record.chain}
            used = max(record.added, self._images.uses.last(record.id))
            parts = frozenset((*record.kept, *record.chain))
            found.append(Holding(record.id, parts, used, self._kept_by(store, record)))
        return found, sizes

    def _kept_by(self, store: ImageStore, record: ImageRecord) -> str:
        if users := self._users(record.id):
            return f"container {users[0]} uses it" + (f", and {len(users) - 1} more" if len(users) > 1 else "")
        if store.leases.held("blob", record.kept) or store.leases.held("snapshot", record.chain):
            return "work under way needs it"
        return ""

    def _names(self, store: ImageStore, id: str) -> list[str]:
        return [familiar(name) for name in store.records.tags(id) or store.records.digests(id)]

    async def _remove(self, store: ImageStore, id: str) -> bool:
        """Unless it has come into use, or was removed, since we looked: nothing can happen between here and there."""
        record = store.records.get(id)
        if record is None or self._kept_by(store, record):
            return False
        try:
            await self._images.remove(id, force=True)
        except CortenError as error:
            log.info("image gc: %s stays: %s", id, error)
            return False
        return True


def _shown(decision: Decision, names: list[str]) -> Json:
    used = times.of_seconds(decision.used)
    return {"Id": decision.id, "Names": names, "Bytes": decision.bytes, "LastUsed": used, "Reason": decision.reason}
