"""Images that are kept as they are and not unpacked: an index with what it has for every platform."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from corten.aio.tasks import together
from corten.errors import CortenError, Invalid
from corten.images.progress import Emit, Meter, retrying, status
from corten.registry.client.documents import Fetched
from corten.registry.client.registry import Registry
from corten.registry.client.repository import Repository
from corten.spec import oci_image
from corten.spec.digest import short
from corten.spec.oci_image import Descriptor, Index, Manifest
from corten.spec.reference import Reference
from corten.store.blobs import Blobs
from corten.store.leases import Lease

NESTED = 3  # an index in an index in an index
_MOST = 256  # manifests that one index may bring here


class IndexFetch:
    """The download of an index with all that it names.

    Digests are leased, and added to `in_flight`, as they are found.
    """

    def __init__(
        self,
        registry: Registry,
        blobs: Blobs,
        repository: Repository,
        reference: Reference,
        lease: Lease,
        in_flight: set[str],
        emit: Emit,
    ) -> None:
        self._registry = registry
        self._blobs = blobs
        self._repository = repository
        self._reference = reference
        self._lease = lease
        self._in_flight = in_flight
        self._emit = emit
        self._found: dict[str, None] = {}
        self._wanted: dict[str, Descriptor] = {}

    async def fetch(self, top: Fetched) -> list[str]:
        """Download into the blob store; returns the digests, the index's own first.

        Raises Invalid for an index with too many manifests, one nested too deep, or a size that is not as described.
        """
        await self._manifests(top, NESTED)
        self._lease.add("blob", *self._wanted)
        self._in_flight.update(self._wanted)
        await together(self._blob(blob) for blob in self._wanted.values())
        return [*self._found, *self._wanted]

    async def _manifests(self, fetched: Fetched, depth: int) -> None:
        self._found[fetched.digest] = None
        if len(self._found) > _MOST:
            raise Invalid(f"index of {self._reference.familiar} names more than {_MOST} manifests")
        document = oci_image.parse_manifest(fetched.body, fetched.content_type)
        self._lease.add("blob", fetched.digest)
        self._in_flight.add(fetched.digest)
        await asyncio.to_thread(self._blobs.put, fetched.body, fetched.digest)
        if isinstance(document, Manifest):
            self._wanted.update({blob.digest: blob for blob in (document.config, *document.layers)})
            return
        if not depth:
            raise Invalid(f"index of {self._reference.familiar} is nested deeper than {NESTED}")
        for entry in document.manifests:
            if entry.digest not in self._found:
                await self._manifests(await self._manifest(entry), depth - 1)

    async def _manifest(self, entry: Descriptor) -> Fetched:
        name = self._reference.with_digest(entry.digest)
        found = await self._registry.manifest(self._repository, name, retrying(self._emit, short(entry.digest)))
        if len(found.body) != entry.size:
            raise Invalid(f"manifest {entry.digest}: size does not match its descriptor")
        return found

    async def _blob(self, blob: Descriptor) -> None:
        shown = short(blob.digest)
        meter = Meter(self._emit, "Downloading", shown, blob.size)
        await self._registry.blob(self._repository, blob, meter, retrying(self._emit, shown))
        self._emit(status("Download complete", shown))


def manifests(blobs: Blobs, digest: str, depth: int = NESTED) -> Iterator[tuple[Descriptor, Manifest]]:
    """Each manifest that an index in the store leads to, with its entry.

    Raises NotFound or Corrupt when one is not in the store.
    """
    document = oci_image.parse_manifest(blobs.read(digest, oci_image.MAX_MANIFEST))
    if not isinstance(document, Index):
        return
    for entry in document.manifests:
        inner = oci_image.parse_manifest(blobs.read(entry.digest, oci_image.MAX_MANIFEST))
        if isinstance(inner, Manifest):
            yield entry, inner
        elif depth:
            yield from manifests(blobs, entry.digest, depth - 1)


def present(blobs: Blobs, digest: str) -> Iterator[tuple[Descriptor, Manifest]]:
    """`manifests`, each once, of which some may be missing. Raises NotFound or Corrupt when the index is not in the
    store, Invalid for one with too many manifests."""
    for entry, document in _documents(blobs, digest):
        if entry is not None and isinstance(document, Manifest):
            yield entry, document


def parts(blobs: Blobs, digest: str) -> list[str]:
    """Digests of an index and of everything that it leads to and is in the store, each once, its own first. Raises as
    `present`."""
    found = dict.fromkeys([digest])
    for entry, document in _documents(blobs, digest):
        found |= {entry.digest: None} if entry is not None else {}
        if isinstance(document, Manifest):
            found |= {each.digest: None for each in (document.config, *document.layers) if blobs.has(each.digest)}
    return list(found)


def _documents(blobs: Blobs, digest: str) -> Iterator[tuple[Descriptor | None, Manifest | Index]]:
    """The index and what of it is in the store, each once, with its entry."""
    seen = {digest}
    waiting: list[tuple[str, Descriptor | None, int]] = [(digest, None, 0)]
    while waiting:
        name, entry, depth = waiting.pop(0)
        document = oci_image.parse_manifest(blobs.read(name, oci_image.MAX_MANIFEST))
        yield entry, document
        if isinstance(document, Manifest) or depth > NESTED:
            continue
        for each in document.manifests:
            if each.digest not in seen and blobs.has(each.digest):
                seen.add(each.digest)
                waiting.append((each.digest, each, depth + 1))
        if len(seen) > _MOST:
            raise Invalid(f"index {digest} names more than {_MOST} manifests")


def complete(blobs: Blobs, digest: str) -> bool:
    """Whether everything that an index leads to is in the store."""
    try:
        return all(
            blobs.has(blob.digest)
            for _, manifest in manifests(blobs, digest)
            for blob in (manifest.config, *manifest.layers)
        )
    except CortenError:
        return False
