"""The writing half of a registry whose answers a test sets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from aiohttp import web

Cut = Callable[[int], bool]  # called with the bytes of an upload that are there; True breaks the connection


class Uploads:
    """Uploads under way by their number. `cut` is asked after each piece, and forgotten once it broke something."""

    def __init__(self, blobs: dict[str, bytes], manifests: dict[str, tuple[str, bytes]]) -> None:
        self._blobs = blobs
        self._manifests = manifests
        self.parts: dict[str, bytearray] = {}
        self.cut: Cut | None = None
        self.mounts = True
        self.place = ""  # another origin that uploads are sent to

    async def answer(self, request: web.Request) -> web.StreamResponse | None:
        """None: this is no request that writes."""
        head, _, name = request.path.rpartition("/")
        if head.endswith("/manifests") and request.method == "PUT":
            body = await request.read()
            digest = "sha256:" + hashlib.sha256(body).hexdigest()
            self._manifests[name] = self._manifests[digest] = (request.headers["Content-Type"], body)
            return web.Response(status=201, headers={"Docker-Content-Digest": digest})
        if not head.endswith("/blobs/uploads"):
            return None
        if request.method == "POST":
            return self._begin(request)
        if name not in self.parts:
            return web.json_response({"errors": [{"code": "BLOB_UPLOAD_UNKNOWN", "message": "unknown"}]}, status=404)
        if request.method == "GET":
            return web.Response(status=204, headers={"Range": f"0-{max(0, len(self.parts[name]) - 1)}"})
        if request.method == "PATCH":
            return await self._patch(request, self.parts[name])
        if request.method == "PUT":
            return self._close(request, name)
        del self.parts[name]
        return web.Response(status=204)

    def _begin(self, request: web.Request) -> web.Response:
        mounted = request.query.get("mount", "")
        if mounted in self._blobs and self.mounts:
            return web.Response(status=201)
        number = str(len(self.parts) + 1)
        self.parts[number] = bytearray()
        return web.Response(status=202, headers={"Location": f"{self.place}{request.path}{number}?state=x"})

    async def _patch(self, request: web.Request, part: bytearray) -> web.Response:
        start = int(request.headers["Content-Range"].partition("-")[0])
        if start != len(part):
            return web.Response(status=416)
        async for piece in request.content.iter_any():
            part += piece
            if self.cut is not None and self.cut(len(part)):
                self.cut = None
                assert request.transport is not None
                request.transport.abort()
        return web.Response(status=202, headers={"Range": f"0-{len(part) - 1}"})

    def _close(self, request: web.Request, number: str) -> web.Response:
        data = bytes(self.parts.pop(number))
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if digest != request.query.get("digest"):
            return web.json_response({"errors": [{"code": "DIGEST_INVALID", "message": "no"}]}, status=400)
        self._blobs[digest] = data
        return web.Response(status=201)
