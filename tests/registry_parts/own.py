"""Our registry server: within the test, or as a process; and the requests a client makes of it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from corten.registry.server.app import Registry, start
from corten.spec.oci_image import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

# "secret"
SECRET = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
ANN = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
BOB = {"Authorization": "Basic " + base64.b64encode(b"bob:secret").decode()}


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def entry(data: bytes, media_type: str, **more: object) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def manifest(config: bytes, *layers: bytes, **more: object) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": entry(config, OCI_CONFIG),
        "layers": [entry(layer, OCI_LAYER) for layer in layers],
        **more,
    }
    return json.dumps(document).encode()


def index(*manifests: bytes) -> bytes:
    entries = [entry(each, OCI_MANIFEST) for each in manifests]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The specification's error code."""
        return str(self.json["errors"][0]["code"])


class Own:
    """A client of one registry. `as_` is the headers with the credentials."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    async def ask(
        self, method: str, path: str, body: bytes = b"", as_: Mapping[str, str] | None = None, **headers: str
    ) -> Answer:
        sent = {**(as_ or {}), **{key.replace("_", "-"): value for key, value in headers.items()}}
        url = path if "://" in path else self.url + path
        data = io.BytesIO(body) if len(body) > 1 << 20 else body or None
        async with self.session.request(method, url, data=data, headers=sent) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def push_blob(self, name: str, data: bytes, as_: Mapping[str, str] | None = None) -> Answer:
        return await self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest(data)}", data, as_)

    async def push(self, name: str, reference: str, body: bytes, as_: Mapping[str, str] | None = None) -> Answer:
        """A manifest or index; reference "" is its digest."""
        kind = json.loads(body)["mediaType"]
        return await self.ask(
            "PUT", f"/v2/{name}/manifests/{reference or digest(body)}", body, as_, Content_Type=str(kind)
        )

    async def push_image(self, name: str, tag: str, *layers: bytes, as_: Mapping[str, str] | None = None) -> bytes:
        """An image of these layers; its manifest."""
        config = json.dumps({"of": [digest(layer) for layer in layers]}).encode()
        for blob in (config, *layers):
            answer = await self.push_blob(name, blob, as_)
            assert answer.status == 201, answer
        body = manifest(config, *layers)
        answer = await self.push(name, tag, body, as_)
        assert answer.status == 201, answer
        return body


@asynccontextmanager
async def served(registry: Registry) -> AsyncIterator[Own]:
    runner = await start(registry, "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            yield Own(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@contextmanager
def own_process(*flags: str, cwd: Path | None = None) -> Iterator[tuple[str, int]]:
    """`corten registry serve` on a port of its own: host:port and process id."""
    command = [sys.executable, "-m", "corten.registry.server", "--listen", "127.0.0.1:0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=cwd)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("registry on "), line
        yield line.split()[2].rstrip(",").partition("://")[2], process.pid
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()
