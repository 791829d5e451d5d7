"""The registry's HTTP interface (OCI distribution specification 1.1, "API", end-1 to end-13, and Docker's catalog)."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from aiohttp import web

import corten
from corten.errors import Corrupt, CortenError, Exhausted, Invalid, NotFound
from corten.registry.server.access import Access
from corten.registry.server.manifests import check_manifest, descriptor_of
from corten.registry.server.store import Store, Upload, check_name, check_tag
from corten.spec import digest as digests
from corten.spec.oci_image import MAX_MANIFEST, OCI_INDEX

_log = logging.getLogger(__name__)
_BATCH = 1 << 20  # bytes that go to the disk thread at once
_PAGE = 10_000
_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/.*)?")
_PATHS = tuple(
    (re.compile(rf"/v2/(?P<name>.+)/{rest}\Z"), kind)
    for rest, kind in (
        (r"blobs/uploads/?", "uploads"),
        (r"blobs/uploads/(?P<what>[^/]+)", "upload"),
        (r"blobs/(?P<what>[^/]+)", "blob"),
        (r"manifests/(?P<what>[^/]+)", "manifest"),
        (r"tags/list", "tags"),
        (r"referrers/(?P<what>[^/]+)", "referrers"),
    )
)
_HEADERS = {"Docker-Distribution-Api-Version": "registry/2.0", "Server": f"Corten/{corten.__version__}"}


class Refusal(Exception):
    """An answer with the specification's error body."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}

    def answer(self) -> web.Response:
        body = {"errors": [{"code": self.code, "message": str(self), "detail": None}]}
        return web.json_response(body, status=self.status, headers={**_HEADERS, **self.headers})


class Registry:
    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access
        self._functions: dict[tuple[str, str], Callable[[web.Request, str, str], Awaitable[web.StreamResponse]]] = {
            ("POST", "uploads"): self._begin,
            ("GET", "upload"): self._progress,
            ("PATCH", "upload"): self._append,
            ("PUT", "upload"): self._finish,
            ("DELETE", "upload"): self._abort,
            ("GET", "blob"): self._blob,
            ("HEAD", "blob"): self._blob,
            ("DELETE", "blob"): self._delete_blob,
            ("GET", "manifest"): self._manifest,
            ("HEAD", "manifest"): self._manifest,
            ("PUT", "manifest"): self._put_manifest,
            ("DELETE", "manifest"): self._delete_manifest,
            ("GET", "tags"): self._tags,
            ("GET", "referrers"): self._referrers,
        }

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_MANIFEST + 1)
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._authorize(request)
            return await self._dispatch(request)
        except Refusal as refusal:
            return refusal.answer()
        except CortenError as error:
            return _refusal(error, request.path).answer()

    async def _authorize(self, request: web.Request) -> None:
        writing = request.method not in ("GET", "HEAD")
        given = request.headers.get("Authorization", "")
        if request.path == "/healthz" or not self._access.needed:
            return
        if not await asyncio.to_thread(self._access.allows, given, writing):
            challenge = {"WWW-Authenticate": 'Basic realm="Corten registry"'}
            raise Refusal(401, "UNAUTHORIZED", "authentication required", challenge)

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path in ("/v2", "/v2/") and request.method in ("GET", "HEAD"):
            return web.json_response({}, headers=_HEADERS)
        if path == "/v2/_catalog" and request.method == "GET":
            return await self._catalog(request)
        if path == "/healthz":
            return web.json_response({"status": "ok"}, headers=_HEADERS)
        for pattern, kind in _PATHS:
            if found := pattern.match(path):
                function = self._functions.get((request.method, kind))
                if function is None:
                    raise Refusal(405, "UNSUPPORTED", "The operation is unsupported.")
                name = check_name(found["name"])
                return await function(request, name, found.groupdict().get("what") or "")
        raise Refusal(404, "NOT_FOUND", "no such page")

    # ------------------------------------------------------------------------------------------------------ blobs

    async def _blob(self, request: web.Request, name: str, what: str) -> web.StreamResponse:
        digest = digests.check(what)
        if not self._store.has_blob(name, digest):
            raise NotFound("blob unknown to registry")
        headers = {**_HEADERS, "Docker-Content-Digest": digest, "Content-Type": "application/octet-stream"}
        headers["Accept-Ranges"] = "bytes"
        return web.FileResponse(self._store.blob_path(digest), chunk_size=_BATCH, headers=headers)

    async def _delete_blob(self, request: web.Request, name: str, what: str) -> web.StreamResponse:
        await asyncio.to_thread(self._store.delete_blob, name, digests.check(what))
        return web.Response(status=202, headers=_HEADERS)

    async def _begin(self, request: web.Request, name: str, _: str) -> web.StreamResponse:
        query = request.query
        if mounted := query.get("mount", ""):
            source = check_name(query["from"]) if query.get("from") else ""
            if await asyncio.to_thread(self._store.mount, name, digests.check(mounted), source):
                return _created(name, mounted)
        upload = await asyncio.to_thread(self._store.begin, name)
        if wanted := query.get("digest", ""):
            try:
                return await self._complete(request, upload, digests.check(wanted))
            except BaseException:
                self._store.abort(upload)
                raise
        return web.Response(status=202, headers=_where(upload))

    async def _progress(self, request: web.Request, name: str, what: str) -> web.StreamResponse:
        upload = await asyncio.to_thread(self._store.upload, name, what)
        return web.Response(status=204, headers=_where(upload))

    async def _append(self, request: web.Request, name: str, what: str) -> web.StreamResponse:
        upload = await asyncio.to_thread(self._store.upload, name, what)
        await self._receive(request, upload)
        return web.Response(status=202, headers=_where(upload))

    async def _finish(self, request: web.Request, name: str, what: str) -> web.StreamResponse:
        upload = await asyncio.to_thread(self._store.upload, name, what)
        return await self._complete(request, upload, digests.check(request.query.get("digest")))

    async def _complete(self, request: web.Request, upload: Upload, digest: str) -> web.StreamResponse:
        await self._receive(request, upload)
        await asyncio.to_thread(self._store.finish, upload, digest)
        return _created(upload.repository, digest)

    async def _abort(self, request: web.Request, name: str, what: str) -> web.StreamResponse:
        self._store.abort(await asyncio.to_thread(self._store.upload, name, what))
        return web.Response(status=204, headers=_HEADERS)

    async def _receive(self, request: web.Request, upload: Upload) -> None:
        """Append the body. What came of one that breaks off stays and can be gone on from."""
        if upload.busy:
            raise Refusal(409, "BLOB_UPLOAD_INVALID", "another request is writing to this upload", _where(upload))
        if text := request.headers.get("Content-Range", ""):
            found = _RANGE.fullmatch(text)
            if found is None or int(found[1]) != upload.size:
                raise Refusal(416, "BLOB_UPLOAD_INVALID", "chunk is not the next one", _where(upload))
        upload.busy = True
        try:
            await _pour(request, upload)
        finally:
            upload.busy = False

    # -------------------------------------------------------------------------------------------------- manifests

    async def _manifest(self, request: web.Request, name: str, what: str) -> web.StreamResponse:
        found = await asyncio.to_thread(self._store.manifest, name, what)
        headers = {**_HEADERS, "Docker-Content-Digest": found.digest, "Content-Type": found.media_type}
        return web.Response(body=found.body, headers=headers)

    async def _put_manifest(self, request: web.Request, name: str, what: str) -> web.StreamResponse:
        by_digest = digests.is_digest(what)
        if not by_digest:
            check_tag(what)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise Refusal(413, "SIZE_INVALID", f"a manifest is at most {MAX_MANIFEST} bytes") from None
        algorithm = digests.split(what)[0] if by_digest else "sha256"
        digest = digests.of(body, algorithm)
        if by_digest and digest != what:
            raise Refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        manifest = check_manifest(body, request.headers.get("Content-Type", ""))
        for needed in manifest.blobs:
            if not self._store.has_blob(name, needed):
                raise Refusal(404, "MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {needed}")
        await asyncio.to_thread(self._store.put_manifest, name, what, manifest.media_type, body, algorithm)
        headers = {**_HEADERS, "Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest}
        if manifest.subject:
            await asyncio.to_thread(self._store.refer, name, manifest.subject, descriptor_of(manifest, digest, body))
            headers["OCI-Subject"] = manifest.subject
        return web.Response(status=201, headers=headers)

    async def _delete_manifest(self, request: web.Request, name: str, what: str) -> web.StreamResponse:
        await asyncio.to_thread(self._store.delete_manifest, name, what)
        return web.Response(status=202, headers=_HEADERS)

    async def _referrers(self, request: web.Request, name: str, what: str) -> web.StreamResponse:
        found = await asyncio.to_thread(self._store.referrers, name, digests.check(what))
        headers = {**_HEADERS, "Content-Type": OCI_INDEX}
        if wanted := request.query.get("artifactType", ""):
            found = [entry for entry in found if entry.get("artifactType") == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
        return web.Response(body=json.dumps(document).encode(), headers=headers)

    # ------------------------------------------------------------------------------------------------------ lists

    async def _tags(self, request: web.Request, name: str, _: str) -> web.StreamResponse:
        tags = await asyncio.to_thread(self._store.tags, name)
        page, headers = _page(request, sorted(tags), f"/v2/{name}/tags/list")
        return web.json_response({"name": name, "tags": page}, headers=headers)

    async def _catalog(self, request: web.Request) -> web.StreamResponse:
        names = await asyncio.to_thread(lambda: list(self._store.repositories()))
        page, headers = _page(request, names, "/v2/_catalog")
        return web.json_response({"repositories": page}, headers=headers)


async def _pour(request: web.Request, upload: Upload) -> None:
    """The body into the file; one batch is written and hashed while the next one arrives."""
    batch: list[bytes] = []
    held = 0
    writing: asyncio.Task[None] | None = None
    try:
        async for piece in request.content.iter_any():
            batch.append(piece)
            held += len(piece)
            if held >= _BATCH:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(asyncio.to_thread(upload.write, b"".join(batch)))
                batch, held = [], 0
    finally:
        if writing is not None:
            await asyncio.wait({writing})
        if batch and (writing is None or writing.exception() is None):
            await asyncio.to_thread(upload.write, b"".join(batch))
    if writing is not None:
        writing.result()


def _page(request: web.Request, names: list[str], path: str) -> tuple[list[str], dict[str, str]]:
    """The page that `n` and `last` ask for, and where the next one is (RFC 5988)."""
    text, last = request.query.get("n", ""), request.query.get("last", "")
    if text and (not text.isdigit() or len(text) > 9):
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
    count = min(int(text), _PAGE) if text else _PAGE
    left = [name for name in names if name > last] if last else names
    page, headers = left[:count], dict(_HEADERS)
    if len(left) > count > 0:
        headers["Link"] = f'<{path}?n={count}&last={quote(page[-1], safe="")}>; rel="next"'
    return page, headers


def _where(upload: Upload) -> dict[str, str]:
    return {
        **_HEADERS,
        "Location": f"/v2/{upload.repository}/blobs/uploads/{upload.id}",
        "Range": f"0-{max(0, upload.size - 1)}",
        "Docker-Upload-UUID": upload.id,
    }


def _created(name: str, digest: str) -> web.Response:
    headers = {**_HEADERS, "Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    return web.Response(status=201, headers=headers)


def _refusal(error: CortenError, path: str) -> Refusal:
    """What the rooms below say, in the specification's codes."""
    text = str(error)
    if isinstance(error, Corrupt):
        return Refusal(400, "DIGEST_INVALID", text)
    if isinstance(error, NotFound):
        codes = {"manifest unknown": "MANIFEST_UNKNOWN", "repository name not known to registry": "NAME_UNKNOWN",
                 "blob upload unknown to registry": "BLOB_UPLOAD_UNKNOWN"}  # fmt: skip
        return Refusal(404, codes.get(text, "BLOB_UNKNOWN"), text)
    if isinstance(error, Invalid):
        code = "NAME_INVALID" if "repository name" in text else "MANIFEST_INVALID" if "/manifests/" in path else ""
        return Refusal(400, code or "DIGEST_INVALID", text)
    if isinstance(error, Exhausted):
        return Refusal(507, "DENIED", text)
    _log.error("a request failed", exc_info=error)
    return Refusal(500, "UNKNOWN", text)


async def start(registry: Registry, host: str, port: int, tls: Any = None) -> web.AppRunner:
    """Listen. `runner.addresses` says where; `runner.cleanup()` ends it."""
    runner = web.AppRunner(registry.application(), access_log=None, shutdown_timeout=2)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=tls).start()
    return runner
