"""One blob into one tree: decompressed and hashed here, applied by a confined worker at the other end of a pipe."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from corten.aio.threads import run_uncancelled
from corten.errors import Corrupt, Invalid, Unavailable
from corten.images.pump import SILENCE, Pump, Stored
from corten.snapshots.tree_store import Draft
from corten.spec.json import Json
from corten.store.blobs import Blobs, Ingest
from corten.store.following import Following

_F_SETPIPE_SZ = 1031
_PIPE = 1 << 20
UNPACKS = 2  # at a time: each keeps one core busy here and one in its worker
FOLLOWERS = 3  # layers that are unpacked while they arrive: as many as are downloaded at a time


class Workers(Protocol):
    """Confined processes. `unpack` applies the uncompressed tar stream at `source_fd` to the directory `tree`.

    The result is `corten.layers.worker.unpack`'s, and so are the exceptions. `source_fd` stays the caller's. The worker
    ends with its stream, not with the call: to stop it, cut the stream and wait.
    """

    async def unpack(self, tree: Path, source_fd: int) -> Json: ...


class Layers(Protocol):
    """The part of a driver that takes layers (see `corten.snapshots.overlay.Overlay`)."""

    def receive(self) -> Draft: ...

    def discard(self, draft: Draft) -> None: ...


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A layer in its draft. `diff_id` is the digest of the uncompressed tar, `size` the bytes of its files."""

    draft: Draft
    diff_id: str
    size: int
    implied: tuple[bytes, ...]
    links: tuple[tuple[bytes, bytes], ...]


class Unpacker:
    def __init__(self, blobs: Blobs, layers: Layers, workers: Workers) -> None:
        self._blobs = blobs
        self._layers = layers
        self._workers = workers
        self._slots = asyncio.Semaphore(UNPACKS)
        self._followers = asyncio.Semaphore(FOLLOWERS)
        # Of their own: they wait for the network and for workers, and must not keep a thread from others.
        self._threads = ThreadPoolExecutor(UNPACKS + FOLLOWERS, "unpack")

    def has(self, digest: str) -> bool:
        """Whether this blob is in the store."""
        return self._blobs.has(digest)

    async def unpack(self, digest: str, diff_id: str | None, progress: Callable[[int], None]) -> Unpacked:
        """Unpack blob `digest` into a new draft. `progress` gets the compressed bytes done, from another thread.

        Raises Invalid when the content is not `diff_id`, or no stream of its kind, or has an entry that is refused;
        Exhausted when the disk is full. On any error the draft is discarded.
        """
        async with self._slots:
            unpacked = await self._into_draft(digest, lambda: Stored(self._blobs.open(digest)), progress)
        if diff_id is not None and unpacked.diff_id != diff_id:
            self._layers.discard(unpacked.draft)
            raise Invalid(f"layer {digest} unpacks to {unpacked.diff_id}, but its image says {diff_id}")
        return unpacked

    async def follow(self, ingest: Ingest) -> Unpacked | None:
        """Unpack a blob while it arrives, to its verified end. None when as many as may be are followed.

        Raises what `unpack` does, and Failed when the download fails; on any error the draft is discarded.
        """
        if self._followers.locked():
            return None
        async with self._followers:
            return await self._into_draft(str(ingest.expected), lambda: Following(ingest), lambda done: None)

    async def _into_draft(
        self, name: str, origin: Callable[[], Stored | Following], progress: Callable[[int], None]
    ) -> Unpacked:
        draft = await run_uncancelled(self._layers.receive, self._layers.discard)
        try:
            actual, answer = await self._run(name, origin(), draft, progress)
        except BaseException:
            self._layers.discard(draft)
            raise
        implied = tuple(os.fsencode(path) for path in answer["implied"])
        links = tuple((os.fsencode(path), os.fsencode(target)) for path, target in answer["links"])
        return Unpacked(draft, actual, answer["size"], implied, links)

    async def _run(
        self, digest: str, source: Stored | Following, draft: Draft, progress: Callable[[int], None]
    ) -> tuple[str, Json]:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(reader, True)  # the worker's
        with suppress(OSError):  # the user's pipe quota: slower, not wrong
            fcntl.fcntl(writer, _F_SETPIPE_SZ, _PIPE)
        pump = Pump(digest, source, writer, progress)
        pumping = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(self._threads, pump.run))
        working = asyncio.ensure_future(self._workers.unpack(draft.path, reader))
        refused: BaseException | None = None
        answer: Json = {}
        try:
            answer = await _answer(working, pumping)
        except BaseException as error:
            refused = error
        first = refused is not None and not pumping.done()
        pump.end()
        if isinstance(refused, Unavailable):  # it is stopped, or the kernel holds it: its end cannot be waited for
            working.cancel()
        refused = await _ended(working) or refused  # or it would go on writing to a draft that is discarded
        os.close(reader)
        refused = await _ended(pumping) or refused  # which looks at `pump.end` all the time
        try:
            return _outcome(digest, pumping, working, refused, first), answer
        finally:
            del pumping, working, refused  # an error's traceback refers to this frame, and what was read would stay


def _outcome(
    digest: str,
    pumping: asyncio.Future[str],
    working: asyncio.Future[Json],
    refused: BaseException | None,
    first: bool,
) -> str:
    """The digest of what was unpacked. Of two errors the first is the cause: a worker that stopped breaks the pipe, or
    its pump was ended because of that (`first`); a pump that stopped closes it."""
    failed = pumping.exception()
    if refused is not None and not working.cancelled():
        working.exception()  # retrieved, or asyncio logs that it never was
    try:
        if failed is not None and not first and not isinstance(failed, BrokenPipeError) and not _cancelled(refused):
            raise failed
        if refused is not None:
            raise refused
        if failed is not None:
            raise Corrupt(f"layer {digest}: the unpacking process ended early") from failed
        return pumping.result()
    finally:
        del failed, refused, pumping, working


async def _answer(working: asyncio.Future[Json], pumping: asyncio.Future[str]) -> Json:
    """A worker's result. Raises Unavailable when it does not come within `SILENCE` seconds of the end of its stream."""
    both: set[asyncio.Future[Any]] = {working, pumping}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not (await asyncio.wait({working}, timeout=SILENCE))[0]:
            raise Unavailable("the unpacking process does not answer")
        return working.result()
    finally:
        del both, working, pumping  # as in `_run`


async def _ended(future: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait for its end, however that is. Returns the cancellation of this task meanwhile, if there was one."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            if not (await asyncio.wait({future}, timeout=SILENCE))[0]:
                future.cancel()
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


def _cancelled(error: BaseException | None) -> bool:
    return isinstance(error, asyncio.CancelledError)
