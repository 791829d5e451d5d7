"""Pushing to one repository (OCI distribution specification 1.1, "Push"): blobs that are not there, then a manifest."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Literal
from urllib.parse import quote, urljoin

import aiohttp

from corten.errors import Corrupt, CortenError, Failed
from corten.registry.client.errors import Refused, push_error
from corten.registry.client.repository import Repository, Waiting
from corten.spec import digest as digests
from corten.spec.oci_image import Descriptor
from corten.store.blobs import Blobs

_PIECE = 1 << 20
Progress = Callable[[int], None]
How = Literal["there", "mounted", "pushed"]


class Push:
    def __init__(self, repository: Repository, blobs: Blobs) -> None:
        self._repository = repository
        self._blobs = blobs

    async def blob(self, blob: Descriptor, sources: Mapping[str, None], progress: Progress, waiting: Waiting) -> How:
        """Have a blob in the repository. `sources` are other repositories of this registry that may have it."""
        try:
            if await self._there(f"blobs/{blob.digest}"):
                return "there"
            for source in [*sources][:3]:
                if await self._mount(blob.digest, source):
                    return "mounted"
            await self._repository.retry(lambda: self._upload(blob, progress), waiting)
        except Refused as error:
            raise push_error(error.refusal, self._repository.name) from error
        return "pushed"

    async def manifest(self, body: bytes, media_type: str, reference: str) -> None:
        """Put a manifest under a tag or its digest."""
        digest = digests.of(body)

        async def once() -> str:
            url = self._repository.url(f"manifests/{reference}")
            async with self._repository.send("PUT", url, {"Content-Type": media_type}, lambda: body) as response:
                return response.headers.get("Docker-Content-Digest", digest)

        try:
            said = await self._repository.retry(once)
        except Refused as error:
            raise push_error(error.refusal, self._repository.name) from error
        if digests.is_digest(said) and said.startswith("sha256:") and said != digest:
            raise Corrupt(f"registry says that the manifest is {said}, but it is {digest}")

    async def _there(self, rest: str) -> bool:
        async def once() -> bool:
            try:
                async with self._repository.send("HEAD", self._repository.url(rest), {}):
                    return True
            except Refused as error:
                if error.refusal.status == 404:
                    return False
                raise

        return await self._repository.retry(once)

    async def _mount(self, digest: str, source: str) -> bool:
        """Cross-repository mount. A registry that will not begins an upload instead, which is then given up."""
        url = self._repository.url(f"blobs/uploads/?mount={digest}&from={quote(source, safe='')}")
        try:
            async with self._repository.send("POST", url, {}) as response:
                if response.status == 201:
                    return True
                location = response.headers.get("Location", "")
            if location:
                async with self._repository.send("DELETE", urljoin(url, location), {}):
                    return False
        except (Refused, CortenError, aiohttp.ClientError):
            return False
        return False

    async def _upload(self, blob: Descriptor, progress: Progress) -> None:
        begin = self._repository.url("blobs/uploads/")
        async with self._repository.send("POST", begin, {}) as response:
            location = response.headers.get("Location", "")
        if not location:
            raise Failed(f"registry begins no upload to {self._repository.name}: it names no place")
        url = urljoin(begin, location)
        url += ("&" if "?" in url else "?") + "digest=" + quote(blob.digest, safe="")
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        async with self._repository.send("PUT", url, headers, lambda: self._pieces(blob, progress)):
            return

    async def _pieces(self, blob: Descriptor, progress: Progress) -> AsyncIterator[bytes]:
        fd = self._blobs.open(blob.digest)
        done = 0
        try:
            while piece := await asyncio.to_thread(os.read, fd, _PIECE):
                yield piece
                done += len(piece)
                progress(done)
        finally:
            os.close(fd)
