"""A registry in a thread of its own that can hold a blob back at a byte: for tests whose client is another process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from corten.spec.oci_image import OCI_MANIFEST

from .stores import Made, digest


class Held:
    """`log` has (digest, Range header) of each blob that was asked for. Blobs stop after `hold` bytes (None: never),
    until `go` is set. With a `challenge` (WWW-Authenticate) all but `/token`, which answers `token`, needs its token,
    "good"; `coding` is what the token is compressed with.
    """

    def __init__(self) -> None:
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.log: list[tuple[str, str]] = []
        self.hold: int | None = None
        self.go = threading.Event()
        self.host = ""
        self.challenge = ""
        self.token = b'{"token": "good"}'
        self.coding = ""

    def add(self, tag: str, image: Made) -> None:
        self.manifests[tag] = self.manifests[digest(image.manifest)] = (OCI_MANIFEST, image.manifest)
        self.blobs.update(image.blobs)

    def ranges(self, blob: str) -> list[str]:
        return [wanted for name, wanted in self.log if name == blob]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    held: Held

    def do_GET(self) -> None:
        if self.path.startswith("/token"):
            self._head(200, len(self.held.token), {"Content-Encoding": self.held.coding})
            self.wfile.write(self.held.token)
            return
        if self.held.challenge and self.headers.get("Authorization") != "Bearer good":
            self._head(401, 0, {"WWW-Authenticate": self.held.challenge})
            return
        kind, _, name = self.path.rpartition("/")
        if kind.endswith("/manifests") and name in self.held.manifests:
            media_type, body = self.held.manifests[name]
            self._head(200, len(body), {"Content-Type": media_type})
            self.wfile.write(body)
        elif kind.endswith("/blobs") and name in self.held.blobs:
            self._blob(name, self.held.blobs[name])
        else:
            what = "manifest" if kind.endswith("/manifests") else "blob"
            error = {"code": f"{what.upper()}_UNKNOWN", "message": f"{what} unknown"}
            body = json.dumps({"errors": [error]}).encode()
            self._head(200 if self.path == "/v2/" else 404, len(body), {})
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        asked = bool(self.held.challenge)
        self._head(401 if asked else 404, 0, {"WWW-Authenticate": self.held.challenge} if asked else {})

    def _blob(self, name: str, data: bytes) -> None:
        wanted = self.headers.get("Range", "")
        self.held.log.append((name, wanted))
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        span = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if wanted else {}
        self._head(206 if wanted else 200, len(data) - start, span)
        hold = self.held.hold
        if hold is not None and len(data) > hold > start:
            self.wfile.write(data[start:hold])
            self.held.go.wait(60)
            start = hold
        self.wfile.write(data[start:])

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(key, value)
        self.end_headers()

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            return  # killed: that is what it is for

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing on standard error."""


@contextmanager
def held() -> Iterator[Held]:
    registry = Held()
    handler = type("Handler", (_Handler,), {"held": registry})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        registry.host = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield registry
        finally:
            registry.go.set()
            server.shutdown()
            thread.join(60)
