"""Layers that are unpacked while they are downloaded.

An optimization only: where it fails, or its result is not used, the layer is unpacked again once its blob is complete,
and errors in it are raised then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType

from corten.errors import CortenError
from corten.images.unpack import Unpacked, Unpacker
from corten.snapshots.tree_store import Draft
from corten.store.blobs import Ingest

_log = logging.getLogger(__name__)


class StreamingUnpack:
    """Used in `async with`; at its end every draft that was not taken is discarded.

    `sync` syncs what was unpacked since; it blocks, and raises OSError.
    """

    def __init__(self, unpacker: Unpacker, discard: Callable[[Draft], None], sync: Callable[[], None]) -> None:
        self.sync = sync
        self._unpacker = unpacker
        self._discard = discard
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[Unpacked | None], Ingest] = {}
        self._over = False

    def follow(self, ingest: Ingest) -> None:
        """Unpack this one while it arrives. Thread-safe."""
        self._loop.call_soon_threadsafe(self._start, ingest)

    def _start(self, ingest: Ingest) -> None:
        if not self._over:
            self._tasks[asyncio.create_task(self._follow(ingest))] = ingest

    async def _follow(self, ingest: Ingest) -> Unpacked | None:
        try:
            return await self._unpacker.follow(ingest)
        except (CortenError, OSError) as error:
            _log.info("a layer is not unpacked while it arrives: %s", error)
        except Exception:  # a defect: logged, but a second attempt may succeed
            _log.exception("a layer is not unpacked while it arrives")
        return None

    async def take(self, digest: str, diff_id: str) -> Unpacked | None:
        """The unpacked committed blob `digest`, which the caller owns; None when there is none with this `diff_id`."""
        for task, ingest in list(self._tasks.items()):
            if ingest.verified and ingest.digest == digest:
                await asyncio.wait({task})
                if self._tasks.pop(task, None) is None:  # a manifest that has the layer twice: the other call took it
                    continue
                found = task.result()
                if found is not None and found.diff_id == diff_id:
                    return found
                if found is not None:
                    self._discard(found.draft)
        return None

    async def __aenter__(self) -> StreamingUnpack:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled() and (found := task.result()) is not None:
                self._discard(found.draft)
