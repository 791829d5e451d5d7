"""Pull-through: repositories below a prefix are those of another registry, kept as they are pulled.

    manifest by digest   kept for good
    manifest by tag      asked for again (HEAD) when it was last checked `revalidate` ago; what is kept is served when
                         the upstream does not answer, and forgotten when it says that there is no such tag
    blob                 fetched once however many ask for it, verified, and sent while it comes

Credentials for an upstream go where the client of registry/client sends them: to the upstream and its token server.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from corten.aio.keyed_locks import KeyedLocks
from corten.errors import CortenError, Forbidden, Invalid, NotFound, Unauthorized, Unavailable
from corten.registry.client.auth import Credentials
from corten.registry.client.endpoints import Endpoints
from corten.registry.client.errors import Refused
from corten.registry.client.proxies import from_environment
from corten.registry.client.registry import Registry as Client
from corten.registry.client.registry import Settings
from corten.registry.client.repository import Repository
from corten.registry.client.sources import Source
from corten.registry.client.urls import is_url
from corten.registry.client.web import Web
from corten.registry.server.downloads import Download, Downloads
from corten.registry.server.manifests import check_manifest, sizes_of
from corten.registry.server.metrics import Metrics
from corten.registry.server.referrers import Page, of_upstream
from corten.registry.server.store import NO_REPOSITORY, Manifest, Needs, Store
from corten.spec import digest as digests
from corten.spec.oci_image import INDEXES, MANIFESTS, Descriptor
from corten.spec.reference import Reference
from corten.store.blobs import Blobs

_ACCEPT = {"Accept": ", ".join(MANIFESTS + INDEXES)}
_HUB = ("registry-1.docker.io", "docker.io", "index.docker.io")
REVALIDATE = 60.0  # seconds
_ATTEMPTS = 2
_PAUSE = 0.5
_REMEMBERED = 100_000
_DOWNLOADS = 8  # blobs at a time
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Upstream:
    """`prefix` is cut off a repository's name; "": every name that no other upstream has."""

    prefix: str
    url: str
    username: str = ""
    password: str = ""
    revalidate: float = REVALIDATE
    insecure: bool = False  # any certificate will do

    def path(self, repository: str) -> str | None:
        """The repository's name at the upstream; None when it is not the upstream's."""
        if self.prefix and not repository.startswith(self.prefix + "/"):
            return None
        return repository[len(self.prefix) + 1 :] if self.prefix else repository


class Upstreams:
    """`close` it inside the event loop."""

    def __init__(self, store: Store, upstreams: Iterable[Upstream], metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._upstreams = sorted(upstreams, key=lambda each: -len(each.prefix))
        self._web = Web(from_environment(os.environ))
        self._client = Client(Blobs(store.layout.root), Settings(downloads=_DOWNLOADS))
        self._downloads = Downloads(self._client, store)
        self._repositories: dict[str, Repository] = {}
        self._checked: dict[tuple[str, str], float] = {}
        self._locks: KeyedLocks[tuple[str, str]] = KeyedLocks()
        for each in self._upstreams:
            _source(each, "x")

    def has(self, repository: str) -> bool:
        return self._find(repository) is not None

    def _find(self, repository: str) -> tuple[Upstream, str] | None:
        for each in self._upstreams:
            if path := each.path(repository):
                return each, path
        return None

    def _at(self, repository: str) -> tuple[Upstream, Repository]:
        found = self._find(repository)
        if found is None:
            raise NotFound(NO_REPOSITORY)
        upstream, path = found
        if repository not in self._repositories:
            known = Credentials(upstream.username, upstream.password)
            if len(self._repositories) >= _REMEMBERED:
                self._repositories.clear()
            self._repositories[repository] = Repository(
                self._web, _source(upstream, path), path, known, _PAUSE, attempts=_ATTEMPTS
            )
        return upstream, self._repositories[repository]

    # -------------------------------------------------------------------------------------------------- manifests

    async def manifest(self, name: str, reference: str) -> Manifest:
        """A manifest, from the cache or the upstream.

        Raises NotFound; Forbidden when the upstream refuses, Unavailable when it does not answer, Corrupt when it
        serves something else.
        """
        async with self._locks.lock((name, reference)):
            kept = await self._kept(name, reference)
            if kept is not None and (digests.is_digest(reference) or self._is_fresh(name, reference)):
                self._metrics.count("cache_hits_total", kind="manifest")
                return kept
            try:
                return await self._asked(name, reference, kept)
            except NotFound:
                if kept is not None and not digests.is_digest(reference):
                    with suppress(NotFound):
                        await asyncio.to_thread(self._store.delete_manifest, name, reference)
                raise
            except Forbidden:
                raise
            except (CortenError, OSError) as error:
                if kept is None:
                    raise Unavailable(f"the upstream does not answer: {error}") from error
                self._metrics.count("cache_stale_total")
                return kept

    async def _asked(self, name: str, tag: str, kept: Manifest | None) -> Manifest:
        _, repository = self._at(name)
        if kept is None or await self._digest(repository, tag) != kept.digest:
            self._metrics.count("cache_misses_total", kind="manifest")
            kept = await self._fetch(name, repository, tag)
        else:
            self._metrics.count("cache_hits_total", kind="manifest")
            await asyncio.to_thread(self._store.used_tag, name, tag)
        if len(self._checked) >= _REMEMBERED:
            self._checked.clear()
        self._checked[name, tag] = time.monotonic()
        return kept

    def _is_fresh(self, name: str, tag: str) -> bool:
        upstream, _ = self._at(name)
        checked = self._checked.get((name, tag))
        return checked is not None and time.monotonic() - checked < upstream.revalidate

    async def _kept(self, name: str, reference: str) -> Manifest | None:
        with suppress(NotFound):
            return await asyncio.to_thread(self._store.need_manifest, name, reference)
        return None

    async def _digest(self, repository: Repository, tag: str) -> str:
        """What a tag names there now, without its manifest, which rate limits would count; "" when it is not said."""

        async def once() -> str:
            async with repository.send("HEAD", repository.url(f"manifests/{tag}"), _ACCEPT) as response:
                return response.headers.get("Docker-Content-Digest", "")

        return await _translated(repository.retry(once))

    async def _fetch(self, name: str, repository: Repository, reference: str) -> Manifest:
        by_digest = digests.is_digest(reference)
        asked = Reference("upstream", repository.name, *(("", reference) if by_digest else (reference, "")))
        found = await _translated(self._client.manifest(repository, asked))
        checked = check_manifest(found.body, found.content_type)
        manifest = Manifest(found.digest, checked.media_type, found.body)
        needs = Needs((), checked.manifests, checked.subject)  # its blobs come when they are asked for
        tag = "" if by_digest else reference
        await asyncio.to_thread(self._store.put_manifest, name, tag, manifest, needs)
        return manifest

    # ------------------------------------------------------------------------------------------------------ blobs

    async def size(self, name: str, digest: str) -> int:
        """A blob's size in bytes, by a cached manifest or by the upstream. Raises NotFound."""
        known = await asyncio.to_thread(self._size, name, digest)
        if known is not None:
            return known
        _, repository = self._at(name)

        async def once() -> int:
            async with repository.get(f"blobs/{digest}", {}) as response:
                return int(response.headers.get("Content-Length", "-1"))

        size = await _translated(repository.retry(once))
        if size < 0:
            raise Unavailable("the upstream does not say how large the blob is")
        return size

    def _size(self, name: str, digest: str) -> int | None:
        newest = sorted(self._store.layout.manifests(name), key=lambda each: -each[1].st_mtime_ns)
        for found, _ in newest:
            with suppress(NotFound):
                sizes = sizes_of(self._store.manifest(name, found).body)
                if digest in sizes:
                    return sizes[digest]
        return None

    async def blob(self, name: str, digest: str) -> Download:
        """A download of a blob that is not kept, under way."""
        _, repository = self._at(name)
        size = await self.size(name, digest)
        self._metrics.count("cache_misses_total", kind="blob")
        return self._downloads.start(name, repository, Descriptor("", digest, size))

    def hit(self) -> None:
        self._metrics.count("cache_hits_total", kind="blob")

    # ------------------------------------------------------------------------------------------------------ lists

    async def tags(self, name: str) -> list[str]:
        """The upstream's tags, or the cached ones when it does not answer.

        Raises NotFound, Forbidden when it refuses.
        """
        _, repository = self._at(name)
        try:
            return sorted(await _translated(self._client.tags(repository, Reference("upstream", repository.name))))
        except (Forbidden, NotFound):
            raise
        except CortenError:
            return await asyncio.to_thread(self._store.tags, name)

    async def referrers(self, name: str, digest: str, artifact_type: str, query: str) -> Page:
        """The upstream's page at `query`, "" for the first. Refused, or a CortenError."""
        _, repository = self._at(name)
        body, following = await self._client.referrers(repository, digest, query)
        return await asyncio.to_thread(of_upstream, body, artifact_type, following)

    async def close(self) -> None:
        await self._downloads.close()
        await self._client.close()
        await self._web.close()


def _source(upstream: Upstream, path: str) -> Source:
    """Where an upstream has the repository `path`. Raises Invalid for what is no URL of a registry."""
    scheme, _, rest = upstream.url.rstrip("/").partition("://")
    host, _, base = rest.partition("/")
    if not is_url(upstream.url) or "@" in host:
        raise Invalid(f"upstream {upstream.url!r} is no http:// or https:// URL of a registry")
    endpoint = Endpoints([host] if upstream.insecure else ()).mirror(host, scheme)
    if host in _HUB and "/" not in path:
        path = f"library/{path}"
    return Source(endpoint, f"{base}/{path}" if base else path)


async def _translated(asking: Awaitable[T]) -> T:
    """Await a request.

    Raises Forbidden when the upstream refuses, NotFound when it has not got it; other errors as is.
    """
    try:
        return await asking
    except Refused as error:
        status = error.refusal.status
        if status in (401, 403):
            raise Forbidden(f"the upstream refuses: {error.refusal.text}") from error
        if status == 404:
            raise NotFound(error.refusal.text) from error
        raise Unavailable(f"the upstream answers {status}: {error.refusal.text}") from error
    except (NotFound, Unauthorized) as error:
        status = error.__cause__.refusal.status if isinstance(error.__cause__, Refused) else 404
        if status == 404 and isinstance(error, NotFound):
            raise
        raise Forbidden(f"the upstream refuses: {error}") from error
