"""Pushing to one repository (OCI distribution specification 1.1, "Push"): blobs that are not there, then a manifest.

A blob goes by one PATCH and a closing PUT. When the connection breaks the registry is asked how far it came (GET of the
upload), and the rest follows from there; a registry that has forgotten the upload gets it anew.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

import aiohttp

from corten.errors import Corrupt, CortenError, Failed
from corten.registry.client.auth import joined
from corten.registry.client.errors import Refused, push_error
from corten.registry.client.repository import Repository, Waiting
from corten.registry.client.web import STALL
from corten.spec import digest as digests
from corten.spec.oci_image import Descriptor

_PIECE = 1 << 20
_CLOSING = 600.0  # seconds that a registry may take to verify and keep what it got
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})\Z")
Progress = Callable[[int], None]
THERE, PUSHED = "there", "pushed"


@dataclass(slots=True)
class _Upload:
    """An upload under way: where the registry wants it, and how many bytes it has. No URL: not begun.

    `broken` is why the blob could not be read: the connection's own error is then only that it was cut.
    """

    url: str = ""
    offset: int = 0
    broken: CortenError | None = None


class Contents(Protocol):
    def open(self, digest: str) -> int:
        """A descriptor of a blob's bytes, which the caller closes. Raises a CortenError when it is not there."""


class Push:
    def __init__(self, repository: Repository, blobs: Contents, stall: float = STALL) -> None:
        self._repository = repository
        self._blobs = blobs
        self._stall = stall

    def mounting(self, sources: Iterable[str]) -> None:
        """Ask for tokens by which blobs may be mounted from these repositories, too."""
        self._repository.beside.update(sources)

    async def blob(self, blob: Descriptor, sources: Iterable[str], progress: Progress, waiting: Waiting) -> str:
        """Have a blob in the repository. `sources` are other repositories of this registry that may have it.

        THERE, PUSHED, or the one of `sources` that it was mounted from.
        """
        try:
            if (found := await self._found(blob, sources, waiting)) is not None:
                return found
            upload = _Upload()
            await self._repository.retry(lambda: self._upload(blob, upload, progress), waiting, lambda: upload.offset)
        except Refused as error:
            raise push_error(error.refusal, self._repository.name) from error
        return PUSHED

    async def found(self, blob: Descriptor, sources: Iterable[str], waiting: Waiting) -> str | None:
        """As `blob`, without a byte of it: None when it has to be sent."""
        try:
            return await self._found(blob, sources, waiting)
        except Refused as error:
            raise push_error(error.refusal, self._repository.name) from error

    async def _found(self, blob: Descriptor, sources: Iterable[str], waiting: Waiting) -> str | None:
        if await self._there(f"blobs/{blob.digest}", waiting):
            return THERE
        for source in sources:
            if await self._mount(blob.digest, source):
                return source
        return None

    async def manifest(self, body: bytes, media_type: str, reference: str, waiting: Waiting) -> None:
        """Put a manifest under a tag or its digest."""
        digest = digests.of(body)

        async def once() -> str:
            url = self._repository.url(f"manifests/{reference}")
            async with self._repository.send("PUT", url, {"Content-Type": media_type}, lambda: body) as response:
                return response.headers.get("Docker-Content-Digest", digest)

        try:
            said = await self._repository.retry(once, waiting)
        except Refused as error:
            raise push_error(error.refusal, self._repository.name) from error
        if digests.is_digest(said) and said.startswith("sha256:") and said != digest:
            raise Corrupt(f"registry says that the manifest is {said}, but it is {digest}")

    async def _there(self, rest: str, waiting: Waiting) -> bool:
        async def once() -> bool:
            try:
                async with self._repository.send("HEAD", self._repository.url(rest), {}):
                    return True
            except Refused as error:
                if error.refusal.status == 404:
                    return False
                raise

        return await self._repository.retry(once, waiting)

    async def _mount(self, digest: str, source: str) -> bool:
        """Cross-repository mount. A registry that will not begins an upload instead, which is then given up."""
        url = self._repository.url(f"blobs/uploads/?mount={digest}&from={quote(source, safe='')}")
        try:
            async with self._repository.send("POST", url, {}) as response:
                if response.status == 201:
                    return True
                location = response.headers.get("Location", "")
            # Elsewhere it is left to its own time limit: a registry does not choose what else is sent a DELETE.
            if location and self._repository.is_ours(joined(url, location)):
                async with self._repository.send("DELETE", joined(url, location), {}):
                    return False
        except (Refused, CortenError, aiohttp.ClientError, TimeoutError):
            return False
        return False

    # ----------------------------------------------------------------------------------------------------- uploads

    async def _upload(self, blob: Descriptor, upload: _Upload, progress: Progress) -> None:
        """One attempt at all that is left of an upload."""
        resumed = bool(upload.url) and await self._continues(upload, blob)
        if not resumed:
            await self._begin(upload)
        try:
            await self._send(blob, upload, progress)
        except Refused as error:
            if not resumed or error.refusal.status not in (400, 404, 416):
                raise
            await self._begin(upload)  # it will not go on with what it said it had
            await self._send(blob, upload, progress)

    async def _begin(self, upload: _Upload) -> None:
        begin = self._repository.url("blobs/uploads/")
        async with self._repository.send("POST", begin, {}) as response:
            upload.url, upload.offset = self._location(begin, response), 0

    async def _continues(self, upload: _Upload, blob: Descriptor) -> bool:
        """Does the registry still know the upload? Then `offset` is what it has."""
        try:
            async with self._repository.send("GET", upload.url, {}) as response:
                found = _RANGE.match(response.headers.get("Range", ""))
                upload.url = self._location(upload.url, response, upload.url)
        except Refused as error:
            if error.refusal.status in (400, 404, 405):
                return False
            raise
        last = int(found[1]) if found else 0
        upload.offset = last + 1 if last else 0  # registries say 0-0 for nothing at all
        return upload.offset <= blob.size

    async def _send(self, blob: Descriptor, upload: _Upload, progress: Progress) -> None:
        if upload.offset < blob.size:
            await self._patch(blob, upload, progress)
        url = upload.url + ("&" if "?" in upload.url else "?") + "digest=" + quote(blob.digest, safe="")
        async with self._repository.send("PUT", url, {"Content-Length": "0"}, lambda: b"", _CLOSING):
            return

    async def _patch(self, blob: Descriptor, upload: _Upload, progress: Progress) -> None:
        start, loop = upload.offset, asyncio.get_running_loop()
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(blob.size - start),
            "Content-Range": f"{start}-{blob.size - 1}",
        }
        async with asyncio.timeout(self._stall) as patience:  # a registry that stops reading is no error to a socket

            def sent(done: int) -> None:
                patience.reschedule(loop.time() + self._stall)
                progress(done)
                upload.offset = max(upload.offset, done)

            bodies: list[AsyncGenerator[bytes, None]] = []

            def pieces() -> AsyncIterator[bytes]:
                bodies.append(self._pieces(blob, upload, start, sent))
                return bodies[-1]

            try:
                async with self._repository.send("PATCH", upload.url, headers, pieces) as response:
                    upload.url, upload.offset = self._location(upload.url, response, upload.url), blob.size
            except (aiohttp.ClientError, Refused) as error:
                if upload.broken is not None:
                    raise upload.broken from error
                raise
            finally:
                for body in bodies:
                    with suppress(RuntimeError):  # aiohttp still reads it, and has cancelled that
                        await body.aclose()

    def _location(self, url: str, response: aiohttp.ClientResponse, known: str = "") -> str:
        location = response.headers.get("Location", "")
        if not location and not known:
            raise Failed(f"registry begins no upload to {self._repository.name}: it names no place")
        return joined(url, location) if location else known

    async def _pieces(
        self, blob: Descriptor, upload: _Upload, start: int, sent: Progress
    ) -> AsyncGenerator[bytes, None]:
        try:
            fd = self._blobs.open(blob.digest)
            done = start
            try:
                while done < blob.size:
                    yield (piece := await asyncio.to_thread(_read, fd, blob.digest, done))
                    done += len(piece)
                    sent(done)
            finally:
                os.close(fd)
        except CortenError as error:
            upload.broken = error
            raise


def _read(fd: int, digest: str, at: int) -> bytes:
    """A piece of a stored blob. Raises Failed when it cannot be read, Corrupt when it is too short."""
    try:
        piece = os.pread(fd, _PIECE, at)
    except OSError as error:
        raise Failed(f"cannot read blob {digest}: {error.strerror or error}") from error
    if not piece:
        raise Corrupt(f"blob {digest} is damaged; pull or load the image again")
    return piece
