"""What a step has added, as a layer: packed once, and its tree kept as it is."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from corten.aio.threads import DISK, run_uncancelled
from corten.build.contexts import FILES
from corten.build.contract import Layer
from corten.build.work.repeated import BROUGHT, Copying, RepeatedCopies
from corten.build.work.rooms import Rooms, Streamed, collected
from corten.errors import Conflict
from corten.images.packed import Packed, Packing
from corten.kernel import memfd
from corten.snapshots.syncing import Syncing
from corten.snapshots.tree_store import Draft
from corten.spec.json import Json
from corten.spec.oci_image import chain_ids
from corten.store.leases import Lease
from corten.store.pipes import Pipe

_AT_A_TIME = 64
_LARGE = 0.2  # seconds of packing, after which a tree is large; and between two syncs
_SILENCE = 3600.0  # seconds without a byte, while one file is copied


def top_of(diffs: Sequence[str]) -> str | None:
    """The name of the tree of these layers."""
    return chain_ids(diffs)[-1] if diffs else None


class Layers:
    """Makes layers, in one place for all builds."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self.copies = RepeatedCopies(rooms.trees.tree_store.has)
        self._room = asyncio.Semaphore(_AT_A_TIME)  # others wait: a build may have any number of steps side by side
        self._packing = Packing(rooms.store.blobs, _AT_A_TIME, "layers of builds", contents=True)

    def base(self, parent: str | None) -> Json | None:
        """The tree below, as its mount."""
        return self._rooms.trees.view(parent)[0].entry() if parent is not None else None

    async def of_active(
        self,
        key: str,
        parent: Sequence[str],
        stubs: Sequence[str],
        volumes: Sequence[str],
        lease: Lease,
        ids: Json | None = None,
    ) -> Layer:
        """Of what was changed in the active tree `key`, which becomes the layer's. It is removed when nothing was.
        `ids`: the maps of the user namespace whose ids are in it."""
        trees = self._rooms.trees
        with trees.tree_store.syncing() as sync:
            request = {"do": "step layer", "whole": self._whole(key), "stubs": list(stubs)}
            request |= {"volumes": list(volumes), "ids": ids}
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

    async def of_draft(
        self,
        draft: Draft,
        request: Json,
        parent: Sequence[str],
        lease: Lease,
        holder: Path | None = None,
        known: bytes = b"",
        copying: Copying | None = None,
    ) -> Layer:
        """Of what `request` has a child bring into the empty `draft`, which becomes its tree, or is discarded. `holder`
        has its one source, whose files the layer may have (`corten.build.contract.SourceTree`); `known` is what is
        known of that source's files (`corten.layers.sums.Memory`), of which those are left out that the tree has that
        `copying` is laid over. Where that has all that comes, its layer is the one that is made."""
        trees = self._rooms.trees
        if copying is not None and not (known and trees.overlays):
            copying = None
        first = copying.first if copying is not None and self._has_tree(copying.first, lease) else None
        below, later = (first.tree, True) if first is not None else (top_of(parent), False)
        try:
            with trees.tree_store.syncing() as sync:
                brought = copying.brought if copying is not None and first is not None else b""
                with _beside(draft, holder) as (place, beside), _open(place, known, brought) as fds:
                    request |= {"beside": beside, "earlier": later, "same": self._has_blob(first, lease)}
                    async with self._room, self._rooms.steps.stream(request, fds) as streamed:
                        if first is not None and streamed.begun.get("same"):
                            await collected(streamed)
                            return first
                        digests = fds[2] if known else -1
                        packed, size = await self._packed(streamed, lease, sync, digests)
                    answer = streamed.answer
                    if known and not later:
                        brought = os.pread(fds[3], BROUGHT + 1, 0)
                if packed.empty:
                    return _nothing(packed)
                name = self._named(parent, packed, lease)

                def keep() -> None:
                    sync()
                    try:
                        own = int(answer["made"]) if later else 0
                        trees.commit(draft, name, below, size, earlier=later, own=own)
                    except Conflict:
                        if not trees.tree_store.has(name):
                            raise

                await run_uncancelled(keep, pool=DISK)
            layer = Layer(packed.diff_id, name, packed.content, size, packed.blob)
            if copying is not None and answer.get("brought"):
                self.copies.done(copying._replace(first=first), layer, int(answer["made"]), brought)
            return layer
        finally:
            trees.discard(draft)  # nothing where it has become a tree

    def _has_tree(self, layer: Layer | None, lease: Lease) -> bool:
        """Whether its tree is there, where it then stays for the lease."""
        if layer is None:
            return False
        lease.add("snapshot", layer.tree)
        return self._rooms.trees.tree_store.has(layer.tree)

    def _has_blob(self, layer: Layer | None, lease: Lease) -> bool:
        """The same of its blob."""
        if layer is None or layer.blob is None:
            return False
        lease.add("blob", layer.blob.digest)
        return self._rooms.store.blobs.has(layer.blob.digest)

    async def _packed(self, streamed: Streamed, lease: Lease, sync: Syncing, digests: int = -1) -> tuple[Packed, int]:
        """A large tree goes to the disk while it is packed."""
        syncing = asyncio.ensure_future(_ahead(sync))
        try:
            packed = await self._packing.drain(Pipe(streamed.reader, streamed.ended, _SILENCE), lease, digests)
        finally:
            syncing.cancel()
        return packed, int(streamed.answer["size"])

    def _named(self, parent: Sequence[str], packed: Packed, lease: Lease) -> str:
        name = chain_ids([*parent, packed.diff_id])[-1]
        lease.add("snapshot", name)
        return name

    def _whole(self, key: str) -> bool:
        """Whether an active tree is all files, and no upper directory."""
        (mount,) = self._rooms.trees.mounts(key)
        return mount.type == "bind" and self._rooms.trees.tree_store.get(key).parent is not None


async def _ahead(sync: Syncing) -> None:
    """Again and again, so that little is left for the end."""
    while True:
        await asyncio.sleep(_LARGE)
        await asyncio.shield(asyncio.wrap_future(sync.ahead()))  # what has begun closes what it has opened


@contextmanager
def _open(place: Path, known: bytes, brought: bytes) -> Iterator[list[int]]:
    """The directory, and where something is known of files: that, a file for the digests of those that come, and one
    of what has come."""
    with ExitStack() as stack:
        fds = [os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
        stack.callback(os.close, fds[0])
        for pieces in [(known,), (), (brought,)] if known else []:
            fds.append(memfd.holding("corten-sums", pieces))
            stack.callback(os.close, fds[-1])
        yield fds


@contextmanager
def _beside(draft: Draft, holder: Path | None) -> Iterator[tuple[Path, list[str] | None]]:
    """The directory that is to be written to. Where a draft can be moved to `holder` it is that, until the block ends,
    and the names in it of the draft and of its source: link(2) does not reach from one mount into another."""
    if holder is None:
        yield draft.path, None
        return
    place = holder / f"draft-{draft.directory}"
    try:
        os.rename(draft.path, place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        yield draft.path, None
        return
    try:
        yield holder, [place.name, FILES]
    finally:
        os.rename(place, draft.path)


def _nothing(packed: Packed) -> Layer:
    return Layer("", "", packed.content, 0, None)
