"""The daemon's one client of registries: sources of names, manifests and blobs, credentials."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from corten.errors import Failed, Invalid, Unauthorized
from corten.registry.client import archives, documents
from corten.registry.client.auth import HUB_NAMES, Credentials, credentials
from corten.registry.client.bodies import next_page
from corten.registry.client.documents import Fetched
from corten.registry.client.downloads import DOWNLOADS, Downloads, Progress
from corten.registry.client.endpoints import CERTIFICATES, Endpoints
from corten.registry.client.errors import Refused
from corten.registry.client.proxies import Proxies
from corten.registry.client.push import Push
from corten.registry.client.repository import ATTEMPTS, Repository, Waiting, translate
from corten.registry.client.search import INDEX, Found, search
from corten.registry.client.slots import Slots
from corten.registry.client.sources import Rule, Source, Sources
from corten.registry.client.web import STALL, Web
from corten.spec import go_json, oci_image
from corten.spec.oci_image import Descriptor
from corten.spec.reference import DEFAULT_DOMAIN, Reference, check_domain
from corten.store.blobs import Blobs

MIRROR_STALL = 15.0  # seconds without a byte
UPLOADS = 5  # as dockerd's max-concurrent-uploads
_MAX_REFERRERS = 8 << 20  # bytes of a page


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
        self._downloads = Downloads(blobs)
        self.uploads = Slots(UPLOADS)
        self._web = Web(Proxies(), stall)
        self._stall = stall
        self.configure(settings or Settings())

    def configure(self, settings: Settings) -> None:
        """Use `settings` for what begins from now on. Raises Invalid, and changes nothing, for bad ones."""
        endpoints = Endpoints(settings.insecure, self._certificates)
        self._sources = Sources(endpoints, settings.rules, settings.mirrors)
        self._endpoints = endpoints
        self._attempts = settings.attempts
        self._downloads.slots.limit = settings.downloads
        self.uploads.limit = settings.uploads
        self._web.proxies = settings.proxies

    @property
    def proxies(self) -> Proxies:
        """What is used from now on, also for what is no registry."""
        return self._web.proxies

    def repository(self, reference: Reference, auth: Mapping[str, Any] | None) -> Repository:
        """The repository where its name says it is."""
        return self._at(self._sources.origin(reference), reference, auth)

    def push(self, reference: Reference, auth: Mapping[str, Any] | None) -> Push:
        """Into the repository where its name says it is."""
        return Push(self.repository(reference, auth), self._blobs, self._stall)

    def sources(self, reference: Reference, auth: Mapping[str, Any] | None) -> list[Repository]:
        """Where the repository may be read, in the order to ask: mirrors first. Credentials are not for them.

        All but the last are tried once and are not waited for: behind a place that fails there is another one.
        """
        *others, last = self._sources.of(reference)
        brief = {"attempts": 1, "patience": min(MIRROR_STALL, self._stall)}
        return [*(self._at(source, reference, auth, **brief) for source in others), self._at(last, reference, auth)]

    def _at(self, source: Source, reference: Reference, auth: Mapping[str, Any] | None, **brief: Any) -> Repository:
        """`brief`: how it differs where another source is left."""
        auth = auth or {}
        own = source.domain == reference.domain or (source.domain and auth.get("serveraddress"))
        known = credentials(auth, source.domain) if own else Credentials()
        return Repository(
            self._web, source, reference.familiar_name, known, self._pause, **{"attempts": self._attempts, **brief}
        )

    async def login(self, auth: Mapping[str, Any]) -> str:
        """Try the credentials at the registry that they name (Docker Hub's, when none).

        Returns the identity token that its authentication server gave, to be kept instead of the password; "" for none.
        Raises Unauthorized when they are refused, Invalid for a bad address, Failed for another answer.
        """
        address = str(auth.get("serveraddress") or DEFAULT_DOMAIN).rpartition("://")[2].partition("/")[0]
        domain = DEFAULT_DOMAIN if address in HUB_NAMES else check_domain(address)
        known = credentials({**auth, "serveraddress": domain}, domain)
        endpoint = self._endpoints.find(domain)
        repository = Repository(self._web, Source(endpoint, "", domain), "", known, self._pause, offline=True)
        try:
            await repository.check()
        except Refused as error:
            text = f"login attempt to {repository.root}/v2/ failed with status: "
            status = error.refusal.status
            if status in (401, 403):
                raise Unauthorized(f"{text}{status} Unauthorized") from error
            raise Failed(f"{text}{status} {error.refusal.text}") from error
        return repository.identity_token

    async def search(self, domain: str, term: str, limit: int, auth: Mapping[str, Any] | None) -> list[Found]:
        """Repositories of a registry whose name has `term` in it."""
        hub = domain == DEFAULT_DOMAIN
        source = Source(self._endpoints.find(INDEX if hub else domain), "", domain)
        at = Repository(self._web, source, "", credentials(auth, domain), self._pause, attempts=self._attempts)
        return await search(at, "" if hub else domain, term, limit)

    async def small_blob(self, repository: Repository, blob: Descriptor, limit: int) -> bytes:
        """See `documents.small_blob`."""
        return await documents.small_blob(repository, blob, limit)

    async def manifest(self, repository: Repository, reference: Reference, waiting: Waiting | None = None) -> Fetched:
        """See `documents.manifest`."""
        return await documents.manifest(repository, reference, waiting)

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
        query = "tags/list?n=1000" + (f"&last={quote(last, safe='')}" if last else "")
        try:
            body, _ = await repository.small(query, {"Accept": "application/json"}, oci_image.MAX_MANIFEST)
        except Refused as error:
            raise translate(error, reference.familiar, repository.name) from error
        try:
            tags = go_json.document(body, "list of tags").get("tags") or []
        except Invalid as error:
            raise Failed(f"registry gives no list of tags for {repository.name}") from error
        return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []

    async def referrers(self, repository: Repository, digest: str, query: str = "") -> tuple[bytes, str]:
        """A page of what refers to a manifest (an index), and the query of the next page; "" when it is the last.

        Refused, or a CortenError about the connection.
        """
        rest = f"referrers/{digest}"
        where = f"{rest}?{query}" if query else rest
        body, headers = await repository.small(where, {"Accept": oci_image.OCI_INDEX}, _MAX_REFERRERS)
        return body, next_page(headers.get("Link", ""), rest)

    async def blob(
        self,
        repository: Repository,
        blob: Descriptor,
        progress: Progress | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        """See `Downloads.blob`."""
        await self._downloads.blob(repository, blob, progress, waiting)

    def archive(self, url: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `archives.archive`: an archive at a URL that `archives.address` has checked."""
        return archives.archive(self._web, url)

    def download(self, url: str) -> AbstractAsyncContextManager[archives.Download]:
        """See `archives.download`, of a URL that `archives.address` has checked."""
        return archives.download(self._web, url)

    async def close(self) -> None:
        await self._web.close()
