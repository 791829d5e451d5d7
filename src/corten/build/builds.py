"""The noun `Builds`: from a request and its client to an image, and what earlier builds left to be used again."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from corten.build.cache import usage
from corten.build.cache.pruner import Pruner
from corten.build.cache.usage import CacheRow
from corten.build.contract import BuildRequest, Client, StageTree, Terminals, Trace
from corten.build.outputs.contract import NO_SINK, Sink
from corten.build.shared import CacheMounts, Shared
from corten.build.trees import Trees
from corten.errors import Conflict, Failed, Invalid, NotFound
from corten.spec import digest as digests
from corten.spec.docker.filters import Filters

if TYPE_CHECKING:
    from corten.build.building import Building
    from corten.build.dockerfile import Definition
    from corten.build.fetched import Fetching
    from corten.build.history.history import History
    from corten.build.result import Built
    from corten.spec.dockerfile.check_rules import Finding
    from corten.spec.dockerfile.outline import Outline

_CONFIG = 4 << 20  # bytes of an image's configuration
_DOCUMENT = 64 << 20
OnEvent = Callable[[str, str, str, dict[str, str]], None]  # type, action, id, attributes


class Builds:
    """`trees` keeps clients' directories, `pruner` what else builds left, `past` gives the history of builds. `recover`
    once at the start, before images are collected; `close` at the end."""

    def __init__(
        self,
        shared: Shared,
        trees: Trees,
        pruner: Pruner,
        past: Callable[[], History],
        on_event: OnEvent = lambda *event: None,
    ) -> None:
        self.contexts = shared.contexts
        self.looks = shared.workers.looks
        self.trees = trees
        self._shared = shared
        self._images = shared.images
        self._pruner = pruner
        self._past = past
        self._on_event = on_event
        self._running: dict[str, asyncio.Task[Built]] = {}
        self._collecting: asyncio.Task[None] | None = None

    def recover(self) -> None:
        """Remove what builds of an earlier daemon left half done."""
        self.contexts.sweep()

    async def close(self) -> None:
        """End all builds; nothing is left of them but what is in the cache."""
        tasks: list[asyncio.Task[Any]] = list(self._running.values())
        tasks += [self._collecting] if self._collecting is not None else []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if "history" in self.__dict__:
            await self.history.settled()

    @cached_property
    def history(self) -> History:
        """The builds that were."""
        return self._past()

    # ------------------------------------------------------------------------------------------------------- a build

    async def build(
        self,
        request: BuildRequest,
        client: Client,
        trace: Trace,
        sink: Sink = NO_SINK,
        terminals: Terminals | None = None,
    ) -> Built:
        """`sink` is where the client takes files of its outputs, `terminals` where it has a shell when a step failed.

        Raises BuildFailed for what is wrong with the Dockerfile or fails in a step; Failed when it was cancelled by
        its id; what client and sink raise. When this is cancelled, so are its steps, and nothing is left of it.
        """
        id = request.id or secrets.token_hex(16)
        if id in self._running:
            raise Conflict(f"a build with the id {id[:100]!r} is under way already")
        work = self._image(replace(request, id=id), client, trace, sink, terminals)
        task = self._running[id] = asyncio.create_task(work, name=f"build {id}")
        try:
            await _watched(task)
        finally:
            del self._running[id]
            self._shared.cache.flush()
        self._collect_later()
        if task.cancelled():
            raise Failed("the build was cancelled: context canceled")
        return task.result()

    def cancel(self, id: str) -> None:
        """End a build. Does nothing when there is none of this id."""
        if (task := self._running.get(id)) is not None:
            task.cancel()

    async def _image(
        self, request: BuildRequest, client: Client, trace: Trace, sink: Sink, terminals: Terminals | None
    ) -> Built:
        if not request.recorded:
            return await self._unrecorded(request, client, trace, sink, terminals)
        from corten.build import attributes

        with self.history.recording(request.id, attributes.of(request), request.outputs, trace) as recording:
            built = await self._unrecorded(request, client, recording.trace, sink, terminals)
            recording.made(built)
            return built

    async def _unrecorded(
        self, request: BuildRequest, client: Client, trace: Trace, sink: Sink, terminals: Terminals | None
    ) -> Built:
        async with self._at_url(request, client, trace) as (request, client):
            return await self._building(request, client, trace, terminals).run(sink)

    async def check(self, request: BuildRequest, client: Client, trace: Trace) -> tuple[Definition, Sequence[Finding]]:
        """What the Dockerfile's checks find. No step is done. Raises what `build` raises."""
        async with self._at_url(request, client, trace) as (request, client):
            return await self._building(request, client, trace).check()

    async def read(self, request: BuildRequest, client: Client, trace: Trace) -> Definition:
        """The Dockerfile. Raises BuildFailed for one that is missing, or wrong; what the client raises."""
        from corten.build.dockerfile import load

        async with self._at_url(request, client, trace) as (request, client):
            return await load(request, client, trace)

    async def outline(self, request: BuildRequest, client: Client, trace: Trace) -> tuple[Definition, Outline]:
        """What the target can be given. Raises what `read` raises."""
        from corten.build.outlined import outlined

        definition = await self.read(request, client, trace)
        return definition, outlined(definition, request)

    def _at_url(
        self, request: BuildRequest, client: Client, trace: Trace
    ) -> AbstractAsyncContextManager[tuple[BuildRequest, Client]]:
        from corten.build.context_url import opened

        return opened(request, client, self.fetching(client, trace))

    def fetching(self, client: Client, trace: Trace) -> Fetching:
        """For what is at an address, outside of a build."""
        from corten.build.fetched import Fetching

        return Fetching(self._shared, client, trace)

    def _building(
        self, request: BuildRequest, client: Client, trace: Trace, terminals: Terminals | None = None
    ) -> Building:
        from corten.build.building import Building  # much of the builder is loaded with the first build

        return Building(self._shared, request, client, trace, terminals)

    async def image(self, ref: str, platform: str, pull: bool, client: Client, trace: Trace) -> tuple[str, bytes]:
        """The digest and the configuration of an image, pulled when it is not here (with `pull` in any case). Raises
        what a pull raises."""
        from corten.build.bases import Bases

        store = self._images.store
        with store.leases.hold() as lease:
            image, _ = await Bases(self._images, client, BuildRequest(pull=pull), lease, trace).resolve(ref, platform)
            record = store.records.get(image.id)
            if record is None:
                raise NotFound(f"No such image: {ref}")
            return record.manifest or image.id, store.blobs.read(image.id, _CONFIG)

    def tree(self, image: str) -> StageTree:
        """Of an image that is here."""
        record = self._images.store.records.get(image)
        if record is None:
            raise NotFound(f"No such image: {image}")
        return StageTree(record.chain[-1] if record.chain else None)

    async def document(self, digest: str) -> bytes:
        """A manifest, an index or a configuration of an image, or what was attested of a build. Raises NotFound,
        Invalid for what is larger."""
        if (attached := await self.history.attached(digest)) is not None:
            return attached
        blobs = self._images.store.blobs
        if not digests.is_digest(digest) or not blobs.has(digest):
            raise NotFound(f"content {digest[:100]}: not found")
        if (size := blobs.size(digest)) > _DOCUMENT:
            raise Invalid(f"content {digest} has {size} bytes: {_DOCUMENT} are read at most")
        return await asyncio.to_thread(blobs.read, digest, _DOCUMENT)

    async def discard(self, image: str) -> None:
        """Remove an image that was made by a build, unless it has a name or is in use."""
        if not any(self._images.store.records.names().get(image, ())):
            with suppress(Conflict, NotFound):
                await self._images.remove(image)

    # ----------------------------------------------------------------------------------------------------- the cache

    @property
    def cache_mounts(self) -> CacheMounts:
        return self._shared.workers.cache_mounts()

    async def usage(self, filters: Filters | None = None) -> list[CacheRow]:
        """What the build cache has, steps first, newest use first. Walks the cache mounts."""
        return await self._pruner.usage(filters or Filters())

    def past_usage(self) -> list[CacheRow]:
        """The row of the history, when there is one: no prune removes it."""
        past = self.history.all()
        return [usage.of_history(self.history.size, past[-1].created, past[0].created)] if past else []

    async def prune(self, all: bool = False, filters: Filters | None = None, keep: int = 0) -> tuple[list[str], int]:
        """Remove what no build uses now: with `all` also what images have, and cache mounts, as far as `filters`
        choose it, until `keep` bytes are left. Ids and the bytes that were freed. Raises Invalid for a filter that is
        unknown."""
        deleted, freed = await self._pruner.prune(all, filters or Filters(), keep)
        self._on_event("builder", "prune", "", {"reclaimed": str(freed)})
        return deleted, freed

    def _collect_later(self) -> None:
        if self._collecting is None or self._collecting.done():
            self._collecting = asyncio.create_task(self._pruner.collect(), name="build cache gc")


async def _watched(task: asyncio.Task[Built]) -> None:
    """Wait for its end; when this is cancelled, so is the task, and its end is waited for all the same."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            task.cancel()
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # seen
        raise cancelled
