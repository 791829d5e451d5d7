"""A registry whose answers a test sets, on a loopback port of its own."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from corten.spec.oci_image import OCI_MANIFEST

from .stores import Made, digest
from .uploads import Uploads

Handler = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


class Scripted:
    """Serves `manifests` (tag or digest to (type, bytes)) and `blobs`. `before` may answer, or raise, first."""

    def __init__(self) -> None:
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[web.Request] = []
        self.before: Handler | None = None
        self.host = ""
        self.uploads = Uploads(self.blobs, self.manifests)

    def add(self, tag: str, image: Made) -> str:
        self.manifests[tag] = self.manifests[digest(image.manifest)] = (OCI_MANIFEST, image.manifest)
        self.blobs.update(image.blobs)
        return digest(image.manifest)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.before is not None:
            early = await self.before(request)
            if early is not None:
                return early
        written = await self.uploads.answer(request)
        if written is not None:
            return written
        kind, _, name = request.path.rpartition("/")
        if kind.endswith("/manifests") and name in self.manifests:
            media_type, data = self.manifests[name]
            return web.Response(body=data, headers={"Content-Type": media_type, "Docker-Content-Digest": digest(data)})
        if kind.endswith("/blobs") and name in self.blobs:
            return self._blob(request, self.blobs[name])
        code = "MANIFEST_UNKNOWN" if kind.endswith("/manifests") else "BLOB_UNKNOWN"
        return web.json_response({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}, status=404)

    def _blob(self, request: web.Request, data: bytes) -> web.Response:
        wanted = request.headers.get("Range", "")
        if not wanted:
            return web.Response(body=data)
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        return web.Response(body=data[start:], status=206, headers=headers)


@asynccontextmanager
async def scripted(tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    registry = Scripted()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", registry.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    registry.host = f"127.0.0.1:{port}"
    try:
        yield registry
    finally:
        await runner.cleanup()


def bearer(server: Scripted, realm: str | None = None, accept: str = "good") -> None:
    """From here on it wants a token of `realm`, its own where there is none. u:p gets the one that is accepted."""

    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/token":
            basic = request.headers.get("Authorization", "")
            token = "good" if basic in ("", "Basic " + base64.b64encode(b"u:p").decode()) else "bad"
            return web.json_response({"token": token})
        if request.headers.get("Authorization") == f"Bearer {accept}":
            return None
        where = realm or f"http://{server.host}/token"
        challenge = f'Bearer realm="{where}",service="s",scope="repository:a/b:pull"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    server.before = before
