"""What a container with a kernel of its own writes to: a disk with an empty ext4 file system, sparse.

    <root>/BYTES.ext4            an empty one of that size, made once by mke2fs and copied from then on: a cache
    <root>/BYTES.part            being made
    <container>/disk.ext4        the container's, 0600; it goes with the container's directory

Of 10 GiB an empty one has 240 KB on the disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from corten.aio.keyed_locks import KeyedLocks
from corten.aio.threads import DISK, run_uncancelled
from corten.errors import Corrupt, Invalid
from corten.kernel.full_disk import writing
from corten.kernel.sync import sync_directory
from corten.layers import holes

# Make an empty ext4 file system in a file, as large as that is (`LauncherWorkers.make_disk`).
FormatDisk = Callable[[int], Awaitable[None]]

DISK_FILE = "disk.ext4"
DEFAULT_SIZE = 10 << 30  # bytes
SMALLEST = 16 << 20  # bytes: room for a journal
LARGEST = (16 << 40) - (1 << 20)  # what a file of ext4 can have, almost
_STEP = 1 << 20
_VERSION = 1  # of what mke2fs is asked for
_EMPTY = re.compile(rf"{_VERSION}-[0-9]+\.ext4")
_MAGIC_AT, _MAGIC = 1024 + 56, b"\x53\xef"


class GuestDisks:
    """See `snapshots.contract.GuestDisks`. `making` are the names below `root` that are being written."""

    def __init__(self, root: Path, format: FormatDisk) -> None:
        self.root = root
        self.making: set[str] = set()
        self._format = format
        self._locks: KeyedLocks[Path] = KeyedLocks()

    async def disk(self, directory: Path, size: int = DEFAULT_SIZE) -> int:
        path = directory / DISK_FILE
        async with self._locks.lock(path):
            found = await run_uncancelled(lambda: _open(path), _close, DISK)
            if found is not None:
                return found
            empty = await self._empty(_rounded(size))
            return await run_uncancelled(lambda: _copied(empty, path), os.close, DISK)

    async def _empty(self, size: int) -> Path:
        """The file of an empty one of this size."""
        path = self.root / f"{_VERSION}-{size}.ext4"
        async with self._locks.lock(path):
            if not await run_uncancelled(lambda: _is_whole(path, size), pool=DISK):
                await self._made(path, size)
        return path

    async def _made(self, path: Path, size: int) -> None:
        part = path.with_suffix(".part")
        self.making.add(part.name)
        try:
            out = await run_uncancelled(lambda: _begin(part, size), os.close, DISK)
            try:
                await self._format(out)
                await run_uncancelled(lambda: _finish(out, part, path), pool=DISK)
            finally:
                os.close(out)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        finally:
            self.making.discard(part.name)

    def sweep(self) -> None:
        """At start: remove what a crash left, and all but the usual size. They are made again at need."""
        keep = f"{_VERSION}-{DEFAULT_SIZE}.ext4"
        for path in self.root.iterdir() if self.root.is_dir() else ():
            if path.name != keep:
                path.unlink(missing_ok=True)


def is_empty_disk(name: str) -> bool:
    """Whether a file of this name belongs below `root`."""
    return _EMPTY.fullmatch(name) is not None


def allocated(directory: Path) -> int:
    """Bytes that the disk of a container has on the host's; 0 when it has none."""
    try:
        return os.stat(directory / DISK_FILE).st_blocks * 512
    except FileNotFoundError:
        return 0


def _rounded(size: int) -> int:
    if not SMALLEST <= size <= LARGEST:
        raise Invalid(f"a disk of {size} bytes cannot be had: it has 16 MiB to 16 TiB")
    return -(-size // _STEP) * _STEP


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _is_whole(path: Path, size: int) -> bool:
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size == size and os.pread(file.fileno(), 2, _MAGIC_AT) == _MAGIC
    except FileNotFoundError:
        return False


def _begin(part: Path, size: int) -> int:
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _new(part, size)


def _new(path: Path, size: int) -> int:
    """A new file of this size, instead of what a crash may have left."""
    path.unlink(missing_ok=True)
    with writing(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, size)
        except BaseException:
            os.close(fd)
            path.unlink()
            raise
        return fd


def _finish(out: int, part: Path, path: Path) -> None:
    os.fchown(out, os.geteuid(), os.getegid())  # it was the jail's
    os.fchmod(out, 0o600)
    os.fsync(out)
    if not _is_whole(part, os.fstat(out).st_size):
        raise Corrupt(f"mke2fs has made no file system in {part}")
    os.rename(part, path)
    sync_directory(path.parent)


def _copied(empty: Path, path: Path) -> int:
    """A copy of an empty disk, holes kept; a descriptor to write to."""
    part = path.with_suffix(".part")
    with empty.open("rb") as source:
        size = os.fstat(source.fileno()).st_size
        out = _new(part, size)
        try:
            with writing(part):
                for at, length in holes.data(source.fileno(), size):
                    _copy(source.fileno(), out, at, length)
                os.fsync(out)
            os.rename(part, path)
            sync_directory(path.parent)
        except BaseException:
            os.close(out)
            part.unlink(missing_ok=True)
            raise
    return out


def _copy(source: int, out: int, at: int, length: int) -> None:
    os.lseek(out, at, os.SEEK_SET)
    end = at + length
    while at < end and (done := os.sendfile(out, source, at, end - at)):
        at += done


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)
