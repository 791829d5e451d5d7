"""Manifests, tags, referrers and the catalog (OCI distribution specification 1.1, end-3, end-7 to end-9, end-12)."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlencode

from aiohttp import web

from corten.errors import CortenError, NotFound, Unavailable
from corten.registry.client.errors import Refused
from corten.registry.server.access import Actor
from corten.registry.server.answers import HEADERS, Refusal, page
from corten.registry.server.asked import Asked
from corten.registry.server.blob_requests import check_no_cache
from corten.registry.server.bodies import Held, whole
from corten.registry.server.manifests import check_pushed
from corten.registry.server.names import TAG, check_tag
from corten.registry.server.parts import Parts
from corten.registry.server.referrers import Page, document
from corten.registry.server.referrers import page as page_of_referrers
from corten.registry.server.store import NO_MANIFEST, Manifest, Needs
from corten.registry.server.webhooks import Target
from corten.spec import digest as digests
from corten.spec.oci_image import MAX_MANIFEST, OCI_INDEX

_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]{1,4096}")  # RFC 3986: it becomes part of a request's first line
_COMING = 64 << 20  # bytes of manifests for each account, until they are whole
_PAGES = 2  # of referrers that are made at a time: each may take some 20 MB


class ManifestRequests:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store
        self._pages = asyncio.Semaphore(_PAGES)
        self._held = Held(_COMING)

    async def get(self, asked: Asked) -> web.StreamResponse:
        found = await self._find(asked)
        headers = {**HEADERS, "Docker-Content-Digest": found.digest, "Content-Type": found.media_type}
        if asked.request.method == "GET":
            self._parts.webhooks.notify(asked, "pull", _target(found, asked.what))
        return web.Response(body=found.body, headers=headers)

    async def _find(self, asked: Asked) -> Manifest:
        upstreams = self._parts.caches(asked.name)
        if upstreams is not None:
            return await upstreams.manifest(asked.name, asked.what if digests.is_digest(asked.what) else _tag(asked))
        look = self._store.need_manifest if asked.request.method == "HEAD" else self._store.manifest
        return await asyncio.to_thread(look, asked.name, asked.what)

    async def put(self, asked: Asked) -> web.StreamResponse:
        check_no_cache(self._parts, asked.name)
        by_digest = digests.is_digest(asked.what)
        tag = "" if by_digest else check_tag(asked.what)
        body = await whole(asked.request, "a manifest", MAX_MANIFEST, self._held.of(asked.actor.user))
        digest = digests.of(body, digests.split(asked.what)[0] if by_digest else "sha256")
        if by_digest and digest != asked.what:
            raise Refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        checked = check_pushed(body, asked.request.headers.get("Content-Type", ""))
        needs = Needs(checked.blobs, checked.manifests, checked.subject)
        manifest = Manifest(digest, checked.media_type, body)
        await asyncio.to_thread(self._store.put_manifest, asked.name, tag, manifest, needs)
        self._parts.metrics.count("received_bytes_total", len(body))
        self._parts.webhooks.notify(asked, "push", _target(manifest, tag))
        headers = {**HEADERS, "Location": f"/v2/{asked.name}/manifests/{digest}", "Docker-Content-Digest": digest}
        if checked.subject:
            headers["OCI-Subject"] = checked.subject
        return web.Response(status=201, headers=headers)

    async def delete(self, asked: Asked) -> web.StreamResponse:
        gone = await asyncio.to_thread(self._store.delete_manifest, asked.name, asked.what)
        self._parts.webhooks.notify(asked, "delete", _target(gone, asked.what))
        return web.Response(status=202, headers=HEADERS)

    async def referrers(self, asked: Asked) -> web.StreamResponse:
        """A page of them; its `Link` is the next one, and none on the last."""
        query, digest = asked.request.query, digests.check(asked.what)
        wanted = query.get("artifactType", "")
        async with self._pages:
            found = await self._referrers(asked.name, digest, wanted, query.get("last", ""), query.get("next", ""))
            body = await asyncio.to_thread(document, found.entries)
        headers = {**HEADERS, "Content-Type": OCI_INDEX}
        if wanted:
            headers["OCI-Filters-Applied"] = "artifactType"
        if found.following:
            kept = urlencode({"artifactType": wanted}) + "&" if wanted else ""
            headers["Link"] = f'</v2/{asked.name}/referrers/{digest}?{kept}{found.following}>; rel="next"'
        return web.Response(body=body, headers=headers)

    async def _referrers(self, name: str, digest: str, wanted: str, last: str, upstreams: str) -> Page:
        """`upstreams` is the query of an upstream's page, whose answer nothing here can stand in for."""
        if upstreams and not _QUERY.fullmatch(upstreams):
            raise Refusal(400, "UNSUPPORTED", "next is no query of a URL")
        cache = self._parts.caches(name)
        if cache is not None and not last:
            try:
                return await cache.referrers(name, digest, wanted, upstreams)
            except (Refused, CortenError):
                if upstreams:
                    raise Unavailable("the upstream does not give the next page of referrers") from None
        return await asyncio.to_thread(page_of_referrers, self._store, name, digest, wanted, last)

    async def tags(self, asked: Asked) -> web.StreamResponse:
        upstreams = self._parts.caches(asked.name)
        if upstreams is not None:
            tags = await upstreams.tags(asked.name)
        else:
            tags = await asyncio.to_thread(self._store.tags, asked.name)
        shown, headers = page(asked.request, tags, f"/v2/{asked.name}/tags/list")
        return web.json_response({"name": asked.name, "tags": shown}, headers=headers)

    async def catalog(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Of the repositories, those that the sender may read."""
        names = await asyncio.to_thread(lambda: sorted(filter(self._parts.access.reads(actor), self._repositories())))
        shown, headers = page(request, names, "/v2/_catalog")
        return web.json_response({"repositories": shown}, headers=headers)

    def _repositories(self) -> list[str]:
        return list(self._store.layout.repositories())


def _target(manifest: Manifest, reference: str) -> Target:
    tag = "" if digests.is_digest(reference) else reference
    return Target(manifest.digest, manifest.media_type, len(manifest.body), tag)


def _tag(asked: Asked) -> str:
    """The tag of a request. Raises NotFound for what is no tag: there can be no such manifest."""
    if not TAG.fullmatch(asked.what):
        raise NotFound(NO_MANIFEST)
    return asked.what
