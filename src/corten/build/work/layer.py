"""What a step has added, as a layer: packed once, and its tree kept as it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from corten.aio.threads import DISK, run_uncancelled
from corten.build.contract import Layer
from corten.build.work.rooms import Rooms, Streamed
from corten.errors import Conflict
from corten.images.packed import Packed, Packing
from corten.snapshots.syncing import Syncing
from corten.snapshots.tree_store import Draft
from corten.spec.json import Json
from corten.spec.oci_image import chain_ids
from corten.store.leases import Lease
from corten.store.pipes import Pipe

_AT_A_TIME = 64
_LARGE = 0.2  # seconds of packing


def top_of(diffs: Sequence[str]) -> str | None:
    """The name of the tree of these layers."""
    return chain_ids(diffs)[-1] if diffs else None


class Layers:
    """Makes layers, in one place for all builds."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._room = asyncio.Semaphore(_AT_A_TIME)  # others wait: a build may have any number of steps side by side
        self._packing = Packing(rooms.store.blobs, _AT_A_TIME, "layers of builds", contents=True)

    def base(self, parent: str | None) -> Json | None:
        """The tree below, as its mount."""
        return self._rooms.trees.view(parent)[0].entry() if parent is not None else None

    async def of_active(self, key: str, parent: Sequence[str], stubs: Sequence[str], lease: Lease) -> Layer:
        """Of what was changed in the active tree `key`, which becomes the layer's. It is removed when nothing was."""
        trees = self._rooms.trees
        with trees.tree_store.syncing() as sync:
            request = {"do": "step layer", "whole": self._whole(key), "stubs": list(stubs)}
            request["base"] = self.base(top_of(parent))
            own = os.open(
                trees.tree_store.files(trees.tree_store.get(key)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            )
            try:
                async with self._room, self._rooms.steps.stream(request, [own]) as streamed:
                    packed, size = await self._packed(streamed, lease, sync)
            finally:
                os.close(own)
            if packed.empty:
                trees.remove(key)
                return _nothing(packed)
            name = self._named(parent, packed, lease)

            def keep() -> None:
                sync()
                try:
                    trees.keep(key, name, size)
                except Conflict:
                    if not trees.tree_store.has(name):
                        raise
                    trees.remove(key)  # another build has made the same

            await run_uncancelled(keep, pool=DISK)
        return Layer(packed.diff_id, name, packed.content, size, packed.blob)

    async def of_draft(self, draft: Draft, request: Json, parent: Sequence[str], lease: Lease) -> Layer:
        """Of what `request` has a child bring into the empty `draft`, which becomes its tree, or is discarded."""
        trees = self._rooms.trees
        try:
            with trees.tree_store.syncing() as sync:
                own = os.open(draft.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    async with self._room, self._rooms.steps.stream(request, [own]) as streamed:
                        packed, size = await self._packed(streamed, lease, sync)
                finally:
                    os.close(own)
                if packed.empty:
                    return _nothing(packed)
                name = self._named(parent, packed, lease)

                def keep() -> None:
                    sync()
                    try:
                        trees.commit(draft, name, top_of(parent), size)
                    except Conflict:
                        if not trees.tree_store.has(name):
                            raise

                await run_uncancelled(keep, pool=DISK)
            return Layer(packed.diff_id, name, packed.content, size, packed.blob)
        finally:
            trees.discard(draft)  # nothing where it has become a tree

    async def _packed(self, streamed: Streamed, lease: Lease, sync: Syncing) -> tuple[Packed, int]:
        """A large tree goes to the disk while it is packed."""
        large = asyncio.get_running_loop().call_later(_LARGE, sync.ahead)
        try:
            packed = await self._packing.drain(Pipe(streamed.reader, streamed.ended), lease)
        finally:
            large.cancel()
        return packed, int(streamed.answer["size"])

    def _named(self, parent: Sequence[str], packed: Packed, lease: Lease) -> str:
        name = chain_ids([*parent, packed.diff_id])[-1]
        lease.add("snapshot", name)
        return name

    def _whole(self, key: str) -> bool:
        """Whether an active tree is all files, and no upper directory."""
        (mount,) = self._rooms.trees.mounts(key)
        return mount.type == "bind" and self._rooms.trees.tree_store.get(key).parent is not None


def _nothing(packed: Packed) -> Layer:
    return Layer("", "", packed.content, 0, None)
