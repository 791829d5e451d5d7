"""Contexts of builds that come as a tar: unpacked by a confined worker into `data_root/build/contexts/ID/files`, and
removed with their build, or at the daemon's start where an earlier one left them.

A context that comes again and again is kept between its builds as a client's directory is (`build.trees`): what is in
the tar is compared with it, and only what was changed is written and, in a COPY, looked at (`layers.again`). As the
files of one that goes with its build are given to the layer instead of copied, which costs less the first time, none
is kept before its second build.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from corten.aio.sources import closing
from corten.aio.threads import to_removal_thread
from corten.build.trees import Trees
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
_KEYS = 1000  # of contexts that have come, which are known again
ALWAYS = 10 << 30  # a context, or an archive of ADD, may unpack to this much in any case,
RATIO = 200  # or to so many times what it measures compressed
_SUMS = 16 << 20  # bytes of hashes: 65 for a file; those of others are made when they are needed
FILES = "files"  # a context in its holder
SMALL = 4 << 20  # bytes of a Dockerfile or a .dockerignore


class Workers(Protocol):
    """Confined processes: `unpack_files` applies a tar that is no layer. See `corten.images.unpack.Workers`."""

    async def unpack_files(
        self, tree: Path, source_fd: int, sums_fd: int, most: int, owned: bool = False, again: bool = False
    ) -> Json: ...


class Contexts:
    """`root` is made when there is something to keep; `mkdir` makes a directory in it. `kept` are contexts between
    their builds; None: there are none."""

    def __init__(
        self,
        root: Path,
        workers: Workers,
        mkdir: Callable[[Path, int], None] = os.mkdir,
        kept: Trees | None = None,
    ) -> None:
        self._root = root
        self._workers = workers
        self._mkdir = mkdir
        self._kept = kept
        self._seen: OrderedDict[str, None] = OrderedDict()  # keys of contexts that have come
        self._held: set[str] = set()

    def sweep(self) -> threading.Thread | None:
        """At start: remove what builds of an earlier daemon left, in a thread, which is the answer where there is
        anything. What a daemon that ends leaves of it is the next one's to remove."""
        try:
            names = os.listdir(self._root)
        except FileNotFoundError:
            return None
        if not names:
            return None
        thread = threading.Thread(target=self._remove, args=(names,), name="contexts", daemon=True)
        thread.start()
        return thread

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                _remove(self._root, name)
            except OSError as error:
                log.warning("the context %s of an earlier daemon was not removed: %s", name, error)

    async def receive(self, body: AsyncIterator[bytes], key: str = "") -> Context:
        """Unpack a tar, compressed or not. The directory is the caller's to `remove`. `key`: what the same client's
        next context will have too, whatever is in it; "" for one that does not come again.

        Raises Invalid for what is no tar or has an entry that is refused, Corrupt when it breaks off, Exhausted when
        the disk is full, Unavailable when there are as many contexts as there may be.
        """
        context = await (self._again(key) if key and self._comes_again(key) else self.empty())
        try:
            await self._unpack(context, body)
        except BaseException:
            await context.remove()
            raise
        return context

    def _comes_again(self, key: str) -> bool:
        """Whether one of this key came before."""
        seen = key in self._seen or (self._kept is not None and self._kept.has(key))
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > _KEYS:
            self._seen.popitem(last=False)
        return seen and self._kept is not None

    async def _again(self, key: str) -> Context:
        """The context of this key, with what it had before."""
        assert self._kept is not None
        id = self._hold()
        try:
            directory = await self._kept.taken(key)
        except BaseException:
            self._held.discard(id)
            raise
        return KeptContext(self, self._kept, directory, id)

    def _hold(self) -> str:
        if len(self._held) >= _LIMIT:
            raise Unavailable(f"{_LIMIT} builds have their context here already; try again when one has ended")
        id = secrets.token_hex(16)
        self._held.add(id)
        return id

    async def empty(self) -> Context:
        """A context without files, for the caller to `remove`. Raises Unavailable when there are as many as may be."""
        context = Context(self, self._root, self._hold())
        try:
            self._root.mkdir(0o700, parents=True, exist_ok=True)
            self._mkdir(self._root / context.id, 0o700)
            os.mkdir(context.directory, 0o700)
            os.chmod(context.directory, 0o755)
        except BaseException:
            await context.remove()
            raise
        return context

    async def fill(self, directory: Path, body: AsyncIterator[bytes], what: str) -> None:
        """Unpack a tar, compressed or not, with its owners into an empty directory. Raises what `receive` raises."""
        sums = memfd.holding("corten-sums", ())
        try:
            await self._unpacked(directory, body, sums, 0, what, owned=True)
        finally:
            os.close(sums)

    async def _unpack(self, context: Context, body: AsyncIterator[bytes]) -> None:
        sums = memfd.holding("corten-sums", ())
        try:
            found = await self._unpacked(context.directory, body, sums, again=context.holder is None)
            context.has(os.pread(sums, _SUMS, 0), int(found["size"]))
        finally:
            os.close(sums)

    async def _unpacked(
        self,
        directory: Path,
        body: AsyncIterator[bytes],
        sums: int,
        most: int = _SUMS,
        what: str = "context",
        owned: bool = False,
        again: bool = False,
    ) -> Json:
        with pipe() as (reader, writer):
            os.set_blocking(reader.fd, True)  # the worker's
            working = asyncio.ensure_future(self._workers.unpack_files(directory, reader.fd, sums, most, owned, again))
            working.add_done_callback(lambda _: reader.close())  # or a write would wait for what nothing reads
            try:
                with suppress(BrokenPipeError):  # the worker has ended: its answer says why
                    async with closing(bounded(body, what)) as pieces:
                        async for piece in pieces:
                            await answers.write(writer.fd, piece)
            finally:
                writer.close()  # which ends the worker, and it must have ended before the directory goes
                await ended(working)
            return working.result()

    async def forget(self, id: str, removed: Awaitable[None] | None = None) -> None:
        """Remove it, unless the caller has a way of its own to do that."""
        try:
            await (removed if removed is not None else to_removal_thread(_remove, self._root, id))
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
    """A directory with a client's files, which only the builder writes to, in the directory `holder`, which has nothing
    else. `sums` are hashes that are known of them (`corten.layers.sums.entry`)."""

    def __init__(self, contexts: Contexts, root: Path, id: str) -> None:
        self._contexts = contexts
        self.id = id
        self.holder: Path | None = root / id
        self.directory = root / id / FILES
        self.sums = b""

    def has(self, sums: bytes, size: int) -> None:
        """What was sent is there: `size` bytes of files."""
        self.sums = sums

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


class KeptContext(Context):
    """One that `trees` have between its builds. Its files stay its own: there is no `holder`."""

    def __init__(self, contexts: Contexts, trees: Trees, directory: Path, id: str) -> None:
        super().__init__(contexts, directory, id)
        self._trees = trees
        self._size: int | None = None
        self.holder = None
        self.directory = directory

    def has(self, sums: bytes, size: int) -> None:
        super().has(sums, size)
        self._size = size

    async def remove(self) -> None:
        """Give it back; one that is not whole goes."""
        whole = self._size is not None
        await self._contexts.forget(self.id, self._trees.give(self.directory, whole, self._size or 0))


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
