"""Contexts of builds that come as a tar: unpacked by a confined worker into `data_root/build/contexts/ID`, removed with
their build, and at the daemon's start whatever an earlier one left."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from corten.aio.sources import closing
from corten.aio.threads import to_removal_thread
from corten.errors import CortenError, Invalid, NotFound, Unavailable
from corten.kernel import memfd, paths
from corten.layers import tree as trees
from corten.spec.json import Json
from corten.store.compression import detect
from corten.store.feed import decoded
from corten.tasks import answers
from corten.tasks.trees import pipe

log = logging.getLogger(__name__)
_LIMIT = 64  # contexts at a time
ALWAYS = 10 << 30  # a context, or an archive of ADD, may unpack to this much in any case,
RATIO = 200  # or to so many times what it measures compressed
_SUMS = 16 << 20  # bytes of hashes: 64 for a file; those of others are made when they are needed
SMALL = 4 << 20  # bytes of a Dockerfile or a .dockerignore


class Workers(Protocol):
    """Confined processes: `unpack_files` applies a tar that is no layer. See `corten.images.unpack.Workers`."""

    async def unpack_files(self, tree: Path, source_fd: int, sums_fd: int, most: int) -> Json: ...


class Contexts:
    """`root` is made when there is something to keep; `mkdir` makes a directory in it."""

    def __init__(self, root: Path, workers: Workers, mkdir: Callable[[Path, int], None] = os.mkdir) -> None:
        self._root = root
        self._workers = workers
        self._mkdir = mkdir
        self._held: set[str] = set()

    def sweep(self) -> None:
        """At start: remove what builds of an earlier daemon left."""
        with suppress(FileNotFoundError):
            for name in os.listdir(self._root):
                _remove(self._root, name)

    async def receive(self, body: AsyncIterator[bytes]) -> Context:
        """Unpack a tar, compressed or not. The directory is the caller's to `remove`.

        Raises Invalid for what is no tar or has an entry that is refused, Corrupt when it breaks off, Exhausted when
        the disk is full, Unavailable when there are as many contexts as there may be.
        """
        context = await self.empty()
        try:
            await self._unpack(context, body)
        except BaseException:
            await context.remove()
            raise
        return context

    async def empty(self) -> Context:
        """A context without files, for the caller to `remove`. Raises Unavailable when there are as many as may be."""
        if len(self._held) >= _LIMIT:
            raise Unavailable(f"{_LIMIT} builds have their context here already; try again when one has ended")
        context = Context(self, self._root, secrets.token_hex(16))
        self._held.add(context.id)
        try:
            self._root.mkdir(0o700, parents=True, exist_ok=True)
            self._mkdir(context.directory, 0o700)
            os.chmod(context.directory, 0o755)
        except BaseException:
            await context.remove()
            raise
        return context

    async def _unpack(self, context: Context, body: AsyncIterator[bytes]) -> None:
        sums = memfd.holding("corten-sums", ())
        try:
            await self._unpacked(context.directory, body, sums)
            context.sums = os.pread(sums, _SUMS, 0)
        finally:
            os.close(sums)

    async def _unpacked(self, directory: Path, body: AsyncIterator[bytes], sums: int) -> None:
        with pipe() as (reader, writer):
            os.set_blocking(reader.fd, True)  # the worker's
            working = asyncio.ensure_future(self._workers.unpack_files(directory, reader.fd, sums, _SUMS))
            working.add_done_callback(lambda _: reader.close())  # or a write would wait for what nothing reads
            try:
                with suppress(BrokenPipeError):  # the worker has ended: its answer says why
                    async with closing(bounded(body, "context")) as pieces:
                        async for piece in pieces:
                            await answers.write(writer.fd, piece)
            finally:
                writer.close()  # which ends the worker, and it must have ended before the directory goes
                await ended(working)
            working.result()

    async def forget(self, id: str) -> None:
        try:
            await to_removal_thread(_remove, self._root, id)
        except (CortenError, OSError) as error:
            log.warning("the context %s was not removed: %s", id, error)
        self._held.discard(id)


async def bounded(body: AsyncIterator[bytes], what: str) -> AsyncIterator[bytes]:
    """Decompressed. Raises Invalid for what looks like a zip bomb, where `what` says which archive it is."""
    received = sent = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal received
        async for piece in body:
            received += len(piece)
            yield piece

    async for piece in decoded(counted()):
        sent += len(piece)
        if sent > max(ALWAYS, RATIO * received):
            raise Invalid(f"the {what} unpacks to more than {sent} bytes; this looks like a zip bomb")
        yield piece


class Context:
    """A directory with a client's files, which only the builder writes to. `sums` are hashes that are known of them
    (`corten.layers.sums.entry`)."""

    def __init__(self, contexts: Contexts, root: Path, id: str) -> None:
        self._contexts = contexts
        self.id = id
        self.directory = root / id
        self.sums = b""

    async def remove(self) -> None:
        await self._contexts.forget(self.id)

    def read(self, name: str) -> bytes:
        """A small file, by its name as inside a root. Raises NotFound, or Invalid for one that is none or too large."""
        fd = trees.open_directory(os.fsencode(self.directory))
        try:
            return paths.read_small(fd, name, SMALL)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{name} is not in the context") from None
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise Invalid(f"{name} is larger than {SMALL} bytes") from None
            raise Invalid(f"{name} cannot be read: {os.strerror(error.errno or 0)}") from None
        finally:
            os.close(fd)

    def found(self, names: Sequence[str]) -> dict[str, bytes]:
        """Those of these small files that are there. Raises Invalid."""
        found = {}
        for name in names:
            with suppress(NotFound):
                found[name] = self.read(name)
        return found

    def discard(self, name: str) -> None:
        """Take a file out of it; nothing happens when it is not there."""
        parent, _, last = name.strip("/").rpartition("/")
        fd = trees.open_directory(os.fsencode(self.directory))
        try:
            there = paths.open_in(fd, parent, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return
        finally:
            os.close(fd)
        try:
            with suppress(OSError):
                os.unlink(last, dir_fd=there)
        finally:
            os.close(there)


async def ended(working: asyncio.Future[Json]) -> None:
    """Wait for a worker's end, also when this is cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait({working}, timeout=answers.SILENCE)
        except asyncio.CancelledError as error:
            cancelled = error
    if not working.cancelled():
        working.exception()  # seen: where the body failed, its error is the one that is raised
    if cancelled is not None:
        raise cancelled


def archived(head: bytes) -> bool:
    """Whether something that begins so is a tar, plain or compressed."""
    return detect(head) != "tar" or head[257:262] == b"ustar"


def _remove(root: Path, name: str) -> None:
    fd = trees.open_directory(os.fsencode(root))
    try:
        trees.remove(fd, os.fsencode(name))
    except FileNotFoundError:
        return
    finally:
        os.close(fd)
