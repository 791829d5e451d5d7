"""The caches of one build that come from elsewhere and go there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from corten.build.bases import credentials
from corten.build.contract import Asked, BuildRequest, Client, Log, Trace
from corten.build.exchange import config, imported, options, records
from corten.build.exchange.exports import Exports
from corten.build.exchange.imported import Imported, Source
from corten.build.exchange.options import CacheExport, CacheImport, InlineExport
from corten.build.exchange.places import InRegistry, InStore, OfClient, Place
from corten.build.exchange.records import Done
from corten.build.outputs.contract import Result, Sink
from corten.build.outputs.layers import Recoding
from corten.build.plan.keys import digest
from corten.build.vertices import Row, vertex
from corten.errors import CortenError, NotFound
from corten.images.images import Images
from corten.spec.reference import Reference
from corten.store.leases import Lease
from corten.units.booleans import TRUE


class Exchange:
    """`lease` holds what is taken. Raises Invalid, Unsupported for what is asked for and cannot be."""

    def __init__(
        self, images: Images, request: BuildRequest, client: Client, sink: Sink, trace: Trace, lease: Lease
    ) -> None:
        named = () if request.classic else tuple(Asked("registry", {"ref": name}) for name in request.cache_from)
        self._imports = options.imports([*request.cache_imports, *named])
        self._exports = options.exports(request.cache_exports)
        if request.arguments.get("BUILDKIT_INLINE_CACHE") in TRUE and not request.classic:
            self._exports.append(InlineExport())
        self._images = images
        self._client = client
        self._sink = sink
        self._trace = trace
        self._lease = lease

    # ------------------------------------------------------------------------------------------------------ from there

    async def imported(self) -> Imported | None:
        """What is there, of all that is to be looked at. A cache that cannot be had is said, and is no error."""
        if not self._imports:
            return None
        found = {}
        for each in self._imports:
            row = digest("cache", _shown(each))
            if (source := await self._load(each, row)) is not None:
                found[row] = source
        return Imported(found, self._images.store, self._lease, self._said)

    async def _load(self, wanted: CacheImport, row: str) -> Source | None:
        try:
            async with vertex(self._trace, row, f"importing cache manifest from {_shown(wanted)}"):
                if wanted.reference is None:
                    store = self._sink.contents(f"local:{wanted.directory}")
                    return await imported.load(OfClient(store, wanted.digest, self._images.store.blobs))
                return await self._named(wanted.reference)
        except CortenError:  # the vertex says it
            return None

    async def _named(self, reference: Reference) -> Source:
        """An image that is here and has a cache, or else what the registry has."""
        here = self._here(reference)
        if here is not None and (found := await imported.load(here)).config.records:
            return found
        auth = await credentials(self._client, reference.domain)
        return await imported.load(InRegistry(self._images.source(reference, auth)))

    def _here(self, reference: Reference) -> Place | None:
        try:
            record = self._images.store.records.get(self._images.resolve(str(reference)).id)
        except NotFound:
            return None
        if record is None:
            return None
        self._lease.add("blob", *record.blobs)
        return InStore(record, self._images.store.blobs)

    def _said(self, row: str, text: str) -> None:
        self._trace(Log(row, 2, f"{text}\n".encode()))

    # -------------------------------------------------------------------------------------------------------- to there

    @property
    def exports(self) -> bool:
        """Whether something goes out at all."""
        return bool(self._exports)

    def inline(self, result: Result, done: Collection[Done]) -> Result:
        """With the cache in each image that is asked to have it: of the steps `done` that it has its layers of."""
        if not any(isinstance(each, InlineExport) for each in self._exports):
            return result
        images = []
        for image in result.images:
            found = records.inline(done, image.document.diff_ids)
            images.append(replace(image, cache=config.render_inline(found) if found.records else ""))
        return replace(result, images=tuple(images))

    async def export(self, done: Collection[Done], result: Collection[Done]) -> dict[str, str]:
        """To all places, `result` of the steps `done` where no more is asked for. The answer for the client.

        Raises what a registry or the client refuses, unless that is to be no error.
        """
        answer: dict[str, str] = {}
        exports = [each for each in self._exports if isinstance(each, CacheExport)]
        delivery = Exports(
            self._images, self._client, self._sink, Recoding(self._images.store.blobs, self._lease), self._lease
        )
        for number, each in enumerate(exports):
            answer |= await self._one(delivery, number, each, done if each.every else result)
        return answer

    async def _one(self, delivery: Exports, number: int, export: CacheExport, done: Collection[Done]) -> dict[str, str]:
        where = "registry" if export.reference is not None else "client directory"
        try:
            async with vertex(self._trace, digest("cache export", number), f"exporting cache to {where}") as row:
                return await delivery.deliver(export, records.of(done), Row(row.digest, self._trace))
        except CortenError:
            if not export.ignore_errors:
                raise
            return {}


def _shown(wanted: CacheImport) -> str:
    return str(wanted.reference) if wanted.reference is not None else f"local:{wanted.digest}"
