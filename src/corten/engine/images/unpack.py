"""One blob into one tree: decompressed and hashed here, applied by a confined worker at the other end of a pipe."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from corten.errors import Corrupt, Invalid
from corten.snapshots.shelf import Draft
from corten.store.blobs import Blobs
from corten.store.compression import Decoder, detect

Json = dict[str, Any]
_F_SETPIPE_SZ = 1031
_PIPE = 1 << 20
_READ = 1 << 19
UNPACKS = 2  # at a time: each keeps one core busy here and one in its worker
_ALWAYS = 10 << 30  # a layer may unpack to this much in any case,
_RATIO = 200  # or to so many times what it measures compressed (a zip bomb reaches 1,000 and more)


class Workers(Protocol):
    """Confined processes. `unpack` applies the uncompressed tar stream at `source_fd` to the directory `tree`.

    The answer is `corten.layers.worker.unpack`'s, and so are the exceptions. `source_fd` stays the caller's. When the
    call is cancelled the worker is killed.
    """

    async def unpack(self, tree: Path, source_fd: int) -> Json: ...


class Layers(Protocol):
    """A driver's way in (see `corten.snapshots.overlay.Overlay`)."""

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

    def has(self, digest: str) -> bool:
        """Is this blob there to be unpacked?"""
        return self._blobs.has(digest)

    async def unpack(self, digest: str, diff_id: str | None, progress: Callable[[int], None]) -> Unpacked:
        """Unpack blob `digest` into a new draft. `progress` is told compressed bytes done, from another thread.

        Corrupt when the content is not `diff_id`, or no stream of its kind; Invalid for a refused entry; Exhausted.
        On any error the draft is gone.
        """
        async with self._slots:
            draft = await self._received()
            try:
                actual, answer = await self._run(digest, draft, progress)
                if diff_id is not None and actual != diff_id:
                    raise Corrupt(f"layer {digest} unpacks to {actual}, but its image says {diff_id}")
            except BaseException:
                self._layers.discard(draft)
                raise
        implied = tuple(os.fsencode(path) for path in answer["implied"])
        links = tuple((os.fsencode(path), os.fsencode(target)) for path, target in answer["links"])
        return Unpacked(draft, actual, answer["size"], implied, links)

    async def _received(self) -> Draft:
        """A new draft. A cancelled caller waits for it: what a thread makes for nobody would stay."""
        receiving = asyncio.ensure_future(asyncio.to_thread(self._layers.receive))
        try:
            return await asyncio.shield(receiving)
        except asyncio.CancelledError:
            await asyncio.wait({receiving})
            if receiving.exception() is None:
                self._layers.discard(receiving.result())
            raise

    async def _run(self, digest: str, draft: Draft, progress: Callable[[int], None]) -> tuple[str, Json]:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        with suppress(OSError):  # the user's pipe quota: slower, not wrong
            fcntl.fcntl(writer, _F_SETPIPE_SZ, _PIPE)
        pump = _Pump(self._blobs, digest, writer, progress)
        pumping = asyncio.create_task(asyncio.to_thread(pump.run))
        refused: BaseException | None = None
        answer: Json = {}
        try:
            answer = await self._workers.unpack(draft.path, reader)
        except BaseException as error:
            refused = error
        finally:
            pump.stop.set()
            os.close(reader)
        await asyncio.wait({pumping})
        failed = pumping.exception()
        # Of two errors the first is the cause: a worker that gave up breaks the pipe, a pump that gave up cuts it.
        if failed is not None and not isinstance(failed, BrokenPipeError) and not _cancelled(refused):
            raise failed
        if refused is not None:
            raise refused
        if failed is not None:
            raise Corrupt(f"layer {digest}: the unpacking process ended early") from failed
        return pumping.result(), answer


def _cancelled(error: BaseException | None) -> bool:
    return isinstance(error, asyncio.CancelledError)


class _Pump:
    """Thread: blob file to pipe. `run` returns the digest of the uncompressed stream."""

    def __init__(self, blobs: Blobs, digest: str, writer: int, progress: Callable[[int], None]) -> None:
        self._blobs = blobs
        self._digest = digest
        self._writer = writer
        self._progress = progress
        self._hash = hashlib.sha256()
        self._out = 0
        self.stop = threading.Event()

    def run(self) -> str:
        try:
            source = self._blobs.open(self._digest)
            try:
                self._pump(source)
            finally:
                os.close(source)
        finally:
            os.close(self._writer)
        return "sha256:" + self._hash.hexdigest()

    def _pump(self, source: int) -> None:
        size = os.fstat(source).st_size
        limit = max(_ALWAYS, _RATIO * size)
        os.posix_fadvise(source, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        decoder = Decoder(detect(os.pread(source, 8, 0)))
        done = 0
        while data := os.read(source, _READ):
            done += len(data)
            self._put(decoder.feed(data), limit)
            while decoder.pending:
                self._put(decoder.feed(b""), limit)
            self._progress(done)
        decoder.finish()

    def _put(self, data: bytes, limit: int) -> None:
        self._out += len(data)
        if self._out > limit:
            raise Invalid(f"layer {self._digest} unpacks to more than {limit} bytes; this looks like a zip bomb")
        self._hash.update(data)
        view = memoryview(data)
        while view:
            if self.stop.is_set():
                raise BrokenPipeError("the unpacking process is gone")
            view = view[os.write(self._writer, view) :]
