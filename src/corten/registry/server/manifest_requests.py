"""Manifests, tags, referrers and the catalog (OCI distribution specification 1.1, end-3, end-7 to end-9, end-12)."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from corten.registry.server.access import Access, Actor
from corten.registry.server.answers import HEADERS, Refusal, page
from corten.registry.server.asked import Asked
from corten.registry.server.manifests import check_manifest, descriptor_of
from corten.registry.server.names import check_tag
from corten.registry.server.store import Manifest, Needs, Store
from corten.spec import digest as digests
from corten.spec.oci_image import MAX_MANIFEST, OCI_INDEX


class ManifestRequests:
    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access

    async def get(self, asked: Asked) -> web.StreamResponse:
        heading = asked.request.method == "HEAD"
        look = self._store.need_manifest if heading else self._store.manifest
        found = await asyncio.to_thread(look, asked.name, asked.what)
        headers = {**HEADERS, "Docker-Content-Digest": found.digest, "Content-Type": found.media_type}
        return web.Response(body=found.body, headers=headers)

    async def put(self, asked: Asked) -> web.StreamResponse:
        by_digest = digests.is_digest(asked.what)
        tag = "" if by_digest else check_tag(asked.what)
        try:
            body = await asked.request.read()
        except web.HTTPRequestEntityTooLarge:
            raise Refusal(413, "SIZE_INVALID", f"a manifest is at most {MAX_MANIFEST} bytes") from None
        digest = digests.of(body, digests.split(asked.what)[0] if by_digest else "sha256")
        if by_digest and digest != asked.what:
            raise Refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        checked = check_manifest(body, asked.request.headers.get("Content-Type", ""))
        needs = Needs(checked.blobs, checked.manifests, checked.subject)
        manifest = Manifest(digest, checked.media_type, body)
        descriptor = descriptor_of(checked, digest, body)
        await asyncio.to_thread(self._store.put_manifest, asked.name, tag, manifest, needs, descriptor)
        headers = {**HEADERS, "Location": f"/v2/{asked.name}/manifests/{digest}", "Docker-Content-Digest": digest}
        if checked.subject:
            headers["OCI-Subject"] = checked.subject
        return web.Response(status=201, headers=headers)

    async def delete(self, asked: Asked) -> web.StreamResponse:
        await asyncio.to_thread(self._store.delete_manifest, asked.name, asked.what)
        return web.Response(status=202, headers=HEADERS)

    async def referrers(self, asked: Asked) -> web.StreamResponse:
        found = await asyncio.to_thread(self._store.referrers, asked.name, digests.check(asked.what))
        headers = {**HEADERS, "Content-Type": OCI_INDEX}
        if wanted := asked.request.query.get("artifactType", ""):
            found = [entry for entry in found if entry.get("artifactType") == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
        return web.Response(body=json.dumps(document).encode(), headers=headers)

    async def tags(self, asked: Asked) -> web.StreamResponse:
        tags = await asyncio.to_thread(self._store.tags, asked.name)
        shown, headers = page(asked.request, tags, f"/v2/{asked.name}/tags/list")
        return web.json_response({"name": asked.name, "tags": shown}, headers=headers)

    async def catalog(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Of the repositories, those that the sender may read."""
        names = await asyncio.to_thread(lambda: sorted(filter(self._access.reads(actor), self._repositories())))
        shown, headers = page(request, names, "/v2/_catalog")
        return web.json_response({"repositories": shown}, headers=headers)

    def _repositories(self) -> list[str]:
        return list(self._store.layout.repositories())
