"""Images of chains for guests, which have no directory of the host's: one for a committed tree with all that it stands
on, made when the first guest needs it, and given to all of them as a disk.

    <root>/HEX.erofs    of the tree sha256:HEX
    <root>/HEX.part     being made
    <root>/.trash       pending deletion

They are a cache. An image goes with its tree, and is made anew when it is damaged, or of another version of what
writes it. That its superblock is whole and names the tree is looked at each time; all of it by `system check --deep`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Collection, Iterable
from pathlib import Path

from corten.aio.keyed_locks import KeyedLocks
from corten.aio.threads import DISK, run_uncancelled
from corten.errors import NotFound
from corten.kernel.full_disk import writing
from corten.kernel.sync import sync_directory
from corten.layers.erofs import VERSION
from corten.layers.erofs.structures import BLOCK, read_superblock
from corten.snapshots.contract import Snapshots
from corten.snapshots.trash import Trash
from corten.spec.mounts import Mount

_LABEL = f"corten {VERSION}".encode()
_PIECE = 1 << 20
_WHOLE, _PART = ".erofs", ".part"


# (tree, out, uuid, label): write an image of a tree to the empty file `out`, and sync it (`LauncherWorkers.make_image`)
MakeImage = Callable[[Mount, int, bytes, bytes], Awaitable[None]]


class ImageFiles:
    """The files, without what makes them. Thread-safe; everything blocks on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trash = Trash(root / ".trash")

    def open(self, name: str) -> int | None:
        """A read-only descriptor of the whole image of the tree `name`; None when there is none."""
        try:
            fd = os.open(self._path(name, _WHOLE), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if _fault(fd, name):
            os.close(fd)
            return None
        return fd

    def fault(self, name: str) -> str:
        """What is wrong with the image of a tree, as far as its first block says it; "" for a good one or none."""
        try:
            fd = os.open(self._path(name, _WHOLE), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return ""
        try:
            return _fault(fd, name)
        finally:
            os.close(fd)

    def begin(self, name: str) -> int:
        """A new file to write the image to, instead of what a crash may have left."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._path(name, _PART)
        part.unlink(missing_ok=True)
        with writing(part):
            return os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def finish(self, name: str) -> None:
        """What was written is whole, and is the image from now on."""
        os.rename(self._path(name, _PART), self._path(name, _WHOLE))
        sync_directory(self.root)

    def give_up(self, name: str) -> None:
        self._path(name, _PART).unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Its bytes are free a little later, and when no guest has it any more."""
        path = self._path(name, _WHOLE)
        if path.exists():  # most trees have none, and then there is nothing below `root`
            self.trash.take(path)

    def sweep(self, names: Iterable[str]) -> None:
        """At start: remove what is not the image of one of these trees."""
        keep = {self._path(name, _WHOLE).name for name in names} | {self.trash.path.name}
        for path in self.root.iterdir() if self.root.is_dir() else ():
            if path.name not in keep:
                self.trash.take(path)

    def owners(self, names: Iterable[str], making: Collection[str]) -> dict[str, str]:
        """Names of files that may be there, to the tree; "" for those that are being made."""
        whole = {self._path(name, _WHOLE).name: name for name in names}
        return whole | {self._path(name, _PART).name: "" for name in making}

    def size(self, names: Iterable[str]) -> int:
        """Bytes on the disk of the images of these trees."""
        total = 0
        for name in names:
            try:
                total += os.stat(self._path(name, _WHOLE)).st_blocks * 512
            except FileNotFoundError:
                continue
        return total

    def _path(self, name: str, kind: str) -> Path:
        return self.root / (name.rpartition(":")[2].replace("/", "_") + kind)


def uuid_of(name: str) -> bytes:
    """What the image of a tree has as its own."""
    return hashlib.sha256(name.encode()).digest()[:16]


def _fault(fd: int, name: str) -> str:
    found = read_superblock(os.pread(fd, BLOCK, 0))
    if found is None:
        return "its first block is damaged"
    if found.label != _LABEL:
        return "another version of the engine made it"
    if found.uuid != uuid_of(name):
        return "it is that of another tree"
    size = os.fstat(fd).st_size
    return "" if size == found.blocks * BLOCK else f"it measures {size} bytes instead of {found.blocks * BLOCK}"


class GuestImages:
    """See `snapshots.contract.GuestImages`. `making` are the trees whose image is being made."""

    def __init__(self, files: ImageFiles, trees: Snapshots, make: MakeImage) -> None:
        self.files = files
        self.making: set[str] = set()
        self._trees = trees
        self._make = make
        self._locks: KeyedLocks[str] = KeyedLocks()

    async def image(self, name: str) -> int:
        if not self._trees.tree_store.get(name).committed:
            raise NotFound(f"{name} is no layer: there is no image of it")
        async with self._locks.lock(name):
            found = await run_uncancelled(lambda: self.files.open(name), _close, DISK)
            return found if found is not None else await self._made(name)

    async def _made(self, name: str) -> int:
        self.making.add(name)
        try:
            out = await run_uncancelled(lambda: self.files.begin(name), os.close, DISK)
            try:
                await self._write(name, out)
            finally:
                os.close(out)
            found = await run_uncancelled(lambda: self._finish(name), _close, DISK)
        except BaseException:
            await self._give_up(name)
            raise
        finally:
            self.making.discard(name)
        if found is None:
            raise NotFound(f"no such snapshot: {name}")
        return found

    async def fault(self, name: str, deep: bool) -> str:
        """What is wrong with the image of a tree; "" for a good one, or none. `deep`: it is made once more and
        compared. The tree has to stay meanwhile."""
        async with self._locks.lock(name):
            what = await run_uncancelled(lambda: self.files.fault(name), pool=DISK)
            found = await run_uncancelled(lambda: self.files.open(name), _close, DISK) if deep and not what else None
            if found is None:
                return what
            try:
                return "" if await self._as_made_now(name, found) else "it is not what is made of the layers"
            finally:
                os.close(found)

    async def _as_made_now(self, name: str, found: int) -> bool:
        self.making.add(name)
        try:
            out = await run_uncancelled(lambda: self.files.begin(name), os.close, DISK)
            try:
                await self._write(name, out)
                return await run_uncancelled(lambda: _same(found, out), pool=DISK)
            finally:
                os.close(out)
        finally:
            await self._give_up(name)
            self.making.discard(name)

    async def _give_up(self, name: str) -> None:
        """In a thread, because it takes time to unlink a large file; the next call begins afterwards."""
        await run_uncancelled(lambda: self.files.give_up(name), pool=DISK)

    async def _write(self, name: str, out: int) -> None:
        (tree,) = self._trees.view(name)
        await self._make(tree, out, uuid_of(name), _LABEL)

    def _finish(self, name: str) -> int | None:
        self.files.finish(name)
        if not self._trees.tree_store.has(name):  # removed meanwhile, when there was no image to remove
            self.files.remove(name)
            return None
        return self.files.open(name)


def _same(one: int, other: int) -> bool:
    if os.fstat(one).st_size != os.fstat(other).st_size:
        return False
    at = 0
    while piece := os.pread(one, _PIECE, at):
        if piece != os.pread(other, len(piece), at):
            return False
        at += len(piece)
    return True


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)
