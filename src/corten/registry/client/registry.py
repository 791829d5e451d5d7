"""Pulling: manifests, and blobs straight into the blob store, a few at a time for the whole daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from corten.errors import Corrupt, Failed, Unauthorized
from corten.registry.client.auth import HUB_NAMES, Credentials, credentials
from corten.registry.client.endpoints import CERTIFICATES, Endpoints
from corten.registry.client.errors import Refused
from corten.registry.client.places import Place, Places, Rule
from corten.registry.client.proxies import Proxies
from corten.registry.client.push import Push
from corten.registry.client.repository import ATTEMPTS, Repository, Waiting, translate
from corten.registry.client.search import INDEX, Found, search
from corten.registry.client.slots import Slots
from corten.registry.client.web import STALL, Web
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec.oci_image import Descriptor
from corten.spec.reference import DEFAULT_DOMAIN, Reference
from corten.store.blobs import Blobs, Ingest

DOWNLOADS, UPLOADS = 3, 5  # as dockerd's max-concurrent-downloads and -uploads
_BATCH = 2 << 20  # bytes that go to the disk thread at once
_ACCEPT = ", ".join(oci_image.MANIFESTS + oci_image.INDEXES)

Progress = Callable[[int], None]  # told how many bytes are there


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest or index as it was served; `digest` is what its bytes hash to."""

    body: bytes
    content_type: str
    digest: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What a daemon's configuration says about registries. `insecure` and `mirrors` (Docker Hub's) are dockerd's;
    `downloads` and `uploads` are how many layers go at a time, `attempts` how often one is tried."""

    insecure: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    downloads: int = DOWNLOADS
    uploads: int = UPLOADS
    attempts: int = ATTEMPTS
    proxies: Proxies = field(default_factory=Proxies)


class Registry:
    """The daemon's one client. `close` it inside the event loop that used it."""

    def __init__(
        self,
        blobs: Blobs,
        settings: Settings | None = None,
        pause: float = 1.0,
        certificates: Sequence[Path] = CERTIFICATES,
        stall: float = STALL,
    ) -> None:
        self._blobs = blobs
        self._certificates = certificates
        self._pause = pause
        self._busy: dict[str, asyncio.Lock] = {}
        self._downloads = Slots(DOWNLOADS)
        self.uploads = Slots(UPLOADS)
        self._web = Web(Proxies(), stall)
        self._stall = stall
        self.configure(settings or Settings())

    def configure(self, settings: Settings) -> None:
        """For what begins from now on. Invalid, and nothing has changed."""
        endpoints = Endpoints(settings.insecure, self._certificates)
        self._places = Places(endpoints, settings.rules, settings.mirrors)
        self._endpoints = endpoints
        self._attempts = settings.attempts
        self._downloads.limit = settings.downloads
        self.uploads.limit = settings.uploads
        self._web.proxies = settings.proxies

    def repository(self, reference: Reference, auth: Mapping[str, Any] | None) -> Repository:
        """The repository where its name says it is."""
        return self._at(self._places.origin(reference), reference, auth)

    def push(self, reference: Reference, auth: Mapping[str, Any] | None) -> Push:
        """Into the repository where its name says it is."""
        return Push(self.repository(reference, auth), self._blobs, self._stall)

    def sources(self, reference: Reference, auth: Mapping[str, Any] | None) -> list[Repository]:
        """Where the repository may be read, in the order to ask: mirrors first. Credentials are not for them."""
        return [self._at(place, reference, auth) for place in self._places.of(reference)]

    def _at(self, place: Place, reference: Reference, auth: Mapping[str, Any] | None) -> Repository:
        auth = auth or {}
        own = place.domain == reference.domain or (place.domain and auth.get("serveraddress"))
        known = credentials(auth, place.domain) if own else Credentials()
        return Repository(self._web, place, reference.familiar_name, known, self._pause, attempts=self._attempts)

    async def login(self, auth: Mapping[str, Any]) -> str:
        """Try the credentials at the registry that they name (Docker Hub's, when none). Unauthorized.

        The identity token that its authentication server gave, to be kept instead of the password; "" for none.
        """
        address = str(auth.get("serveraddress") or DEFAULT_DOMAIN).rpartition("://")[2].partition("/")[0]
        domain = DEFAULT_DOMAIN if address in HUB_NAMES else address
        known = credentials({**auth, "serveraddress": domain}, domain)
        endpoint = self._endpoints.find(domain)
        repository = Repository(self._web, Place(endpoint, "", domain), "", known, self._pause, offline=True)
        try:
            await repository.check()
        except Refused as error:
            text = f"login attempt to {endpoint.schemes[0]}://{endpoint.host}/v2/ failed with status: "
            status = error.refusal.status
            if status in (401, 403):
                raise Unauthorized(f"{text}{status} Unauthorized") from error
            raise Failed(f"{text}{status} {error.refusal.text}") from error
        return repository.identity_token

    async def search(self, domain: str, term: str, limit: int, auth: Mapping[str, Any] | None) -> list[Found]:
        """Repositories of a registry whose name has `term` in it."""
        hub = domain == DEFAULT_DOMAIN
        place = Place(self._endpoints.find(INDEX if hub else domain), "", domain)
        at = Repository(self._web, place, "", credentials(auth, domain), self._pause, attempts=self._attempts)
        return await search(at, "" if hub else domain, term, limit)

    async def small_blob(self, repository: Repository, blob: Descriptor, limit: int) -> bytes:
        """A blob that is not to be kept, verified."""
        try:
            body, _ = await repository.small(f"blobs/{blob.digest}", {}, limit)
        except Refused as error:
            raise translate(error, blob.digest, repository.name) from error
        if digests.of(body, digests.split(blob.digest)[0]) != blob.digest:
            raise Corrupt(f"digest mismatch: registry serves something else as {blob.digest}")
        return body

    async def manifest(self, repository: Repository, reference: Reference, waiting: Waiting | None = None) -> Fetched:
        """What a tag or digest names. NotFound, Unauthorized, Unavailable, Failed; Corrupt: wrong digest."""
        wanted = reference.digest or reference.tag
        try:
            body, headers = await repository.small(
                f"manifests/{wanted}", {"Accept": _ACCEPT}, oci_image.MAX_MANIFEST, waiting
            )
        except Refused as error:
            raise translate(error, reference.familiar, repository.name) from error
        digest = digests.of(body, digests.split(reference.digest)[0] if reference.digest else "sha256")
        if reference.digest and digest != reference.digest:
            raise Corrupt(f"manifest verification failed for digest {reference.digest}: got {digest}")
        claimed = headers.get("Docker-Content-Digest", "")
        if digests.is_digest(claimed) and claimed != digests.of(body, digests.split(claimed)[0]):
            raise Corrupt(f"registry says that {reference.familiar} is {claimed}, but it is {digest}")
        return Fetched(body, headers.get("Content-Type", ""), digest)

    async def tags(self, repository: Repository, reference: Reference) -> list[str]:
        """Every tag of the repository, over all pages (at most 100,000)."""
        tags: list[str] = []
        last = ""
        while len(tags) < 100_000:
            page = await self._page(repository, reference, last)
            if not page or (last and page[-1] == last):
                break
            tags += page
            last = page[-1]
        return tags

    async def _page(self, repository: Repository, reference: Reference, last: str) -> list[str]:
        query = "tags/list?n=1000" + (f"&last={last}" if last else "")
        try:
            body, _ = await repository.small(query, {"Accept": "application/json"}, oci_image.MAX_MANIFEST)
        except Refused as error:
            raise translate(error, reference.familiar, repository.name) from error
        try:
            tags = json.loads(body).get("tags") or []
        except (ValueError, AttributeError, RecursionError) as error:
            raise Failed(f"registry gives no list of tags for {repository.name}") from error
        return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []

    # ----------------------------------------------------------------------------------------------------- blobs

    async def blob(
        self,
        repository: Repository,
        blob: Descriptor,
        progress: Progress | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        """Have the blob in the store, verified. What a former attempt got is kept; one download of a digest at a time.

        Raises NotFound, Unavailable, Failed, Exhausted; Corrupt when the registry serves something else.
        """
        async with self._only(blob.digest):
            if self._blobs.has(blob.digest):
                return
            async with self._downloads:
                await self._download(repository, blob, progress or (lambda done: None), waiting)

    @asynccontextmanager
    async def _only(self, digest: str) -> AsyncIterator[None]:
        lock = self._busy.setdefault(digest, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and self._busy.get(digest) is lock:
                del self._busy[digest]

    async def _download(
        self, repository: Repository, blob: Descriptor, progress: Progress, waiting: Waiting | None
    ) -> None:
        ingest = await asyncio.to_thread(self._blobs.ingest, blob.digest)
        resumed = ingest.offset > 0
        try:
            try:
                await self._fill(repository, blob, ingest, progress, waiting)
            except Corrupt:
                await asyncio.to_thread(ingest.abort)
                if not resumed:
                    raise
                ingest = await asyncio.to_thread(self._blobs.ingest, blob.digest)  # the old part was bad: once anew
                await self._fill(repository, blob, ingest, progress, waiting)
        except Corrupt:
            await asyncio.to_thread(ingest.abort)
            raise
        except Refused as error:
            raise translate(error, blob.digest, repository.name) from error
        finally:
            await asyncio.shield(asyncio.to_thread(ingest.close))

    async def _fill(
        self, repository: Repository, blob: Descriptor, ingest: Ingest, progress: Progress, waiting: Waiting | None
    ) -> None:
        async def once() -> None:
            await self._receive(repository, blob, ingest, progress)

        if ingest.offset > blob.size:
            ingest.restart()
        if ingest.offset < blob.size or blob.size == 0:
            await repository.retry(once, waiting, lambda: ingest.offset)
        await _to_its_end(ingest.commit)

    async def _receive(self, repository: Repository, blob: Descriptor, ingest: Ingest, progress: Progress) -> None:
        start = ingest.offset
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            await self._answer(repository, blob, ingest, progress, start, headers)
        except Refused as error:
            if error.refusal.status != 416 or not start:
                raise
            await asyncio.to_thread(ingest.restart)
            await self._answer(repository, blob, ingest, progress, 0, {})
        if ingest.offset < blob.size:
            raise aiohttp.ClientPayloadError(f"{blob.digest} ended after {ingest.offset} of {blob.size} bytes")

    async def _answer(
        self,
        repository: Repository,
        blob: Descriptor,
        ingest: Ingest,
        progress: Progress,
        start: int,
        headers: Mapping[str, str],
    ) -> None:
        async with repository.get(f"blobs/{blob.digest}", headers) as response:
            if start and not _continues(response, start, blob.size):
                if response.status == 206:
                    raise Failed(f"registry answers the wrong range of {blob.digest}")
                await asyncio.to_thread(ingest.restart)
            length = response.content_length
            if length is not None and length != blob.size - ingest.offset:
                wanted = f"the {blob.size} bytes that its manifest says"
                raise Corrupt(f"registry serves {ingest.offset + length} bytes as {blob.digest}, not {wanted}")
            await _pour(response, ingest, blob, progress)

    async def close(self) -> None:
        await self._web.close()


async def _to_its_end(work: Callable[[], object]) -> None:
    """In a thread, and a cancelled caller waits for it: who takes away what came has to know what did."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _continues(response: aiohttp.ClientResponse, start: int, size: int) -> bool:
    return response.status == 206 and response.headers.get("Content-Range", "").replace(" ", "") in (
        f"bytes{start}-{size - 1}/{size}",
        f"bytes{start}-{size - 1}/*",
    )


async def _pour(response: aiohttp.ClientResponse, ingest: Ingest, blob: Descriptor, progress: Progress) -> None:
    """The body into the ingest. The disk thread writes and hashes one batch while the next one arrives."""
    batch: list[bytes] = []
    held = 0
    there = ingest.offset
    writing: asyncio.Task[None] | None = None
    try:
        async for chunk in response.content.iter_any():
            batch.append(chunk)
            held += len(chunk)
            if there + held > blob.size:
                raise Corrupt(f"{blob.digest} is longer than the {blob.size} bytes that its manifest says")
            progress(there + held)
            if held >= _BATCH:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(asyncio.to_thread(ingest.write, b"".join(batch)))
                there, held, batch = there + held, 0, []
    finally:
        if writing is not None:
            await asyncio.wait({writing})
        if batch and (writing is None or writing.exception() is None):
            await asyncio.to_thread(ingest.write, b"".join(batch))
    if writing is not None:
        writing.result()
