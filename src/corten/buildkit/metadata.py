"""What sources are, for clients that ask before they build: the digest and configuration of an image, the commit of a
repository, the digest of a file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from corten.aio.threads import to_walk_thread
from corten.build.builds import Builds
from corten.build.contract import Client, Trace
from corten.build.fetched import GitFiles, WebFile
from corten.buildkit import llb
from corten.errors import Invalid
from corten.spec.protobuf import gateway as m
from corten.spec.protobuf.control import Platform, Timestamp

_IMAGE = "docker-image://"
_PULL = "pull"
_NAME = "context"


class Metadata:
    """For one call: `client` has credentials and secrets, `trace` gets what is done."""

    def __init__(self, builds: Builds, client: Client, trace: Trace) -> None:
        self._builds = builds
        self._client = client
        self._trace = trace

    async def image_config(self, request: m.ResolveImageConfigRequest) -> m.ResolveImageConfigResponse:
        """Raises what a pull raises."""
        digest, config = await self._image(request.ref, request.platform, request.mode)
        return m.ResolveImageConfigResponse(digest, config, request.ref)

    async def source(self, request: m.ResolveSourceMetaRequest) -> m.ResolveSourceMetaResponse:
        """Raises what a pull or a fetch raises, Unsupported for a source of another kind."""
        if request.source is None:
            raise Invalid("source is required")
        found, name = m.ResolveSourceMetaResponse(request.source), request.source.identifier
        if name.startswith(_IMAGE):
            ref = name.removeprefix(_IMAGE)
            digest, config = await self._image(ref, request.platform, request.mode)
            no_config = request.image is not None and request.image.no_config
            found.image = m.ResolvedImage(digest, b"" if no_config else config)
            return found
        match llb.of_source(request.source, _NAME):
            case GitFiles() as repository:
                found.git = await self._git(repository)
            case WebFile() as file:
                found.http = await self._http(file)
        return found

    async def _image(self, ref: str, platform: Platform | None, mode: str) -> tuple[str, bytes]:
        wanted = "/".join(filter(None, (platform.os, platform.architecture, platform.variant))) if platform else ""
        return await self._builds.image(ref, wanted, mode == _PULL, self._client, self._trace)

    async def _git(self, wanted: GitFiles) -> m.ResolvedGit:
        found = await self._builds.fetching(self._client, self._trace).commit(wanted.url)
        return m.ResolvedGit(found.tag or found.id, found.ref or found.id, found.id if found.tag else "")

    async def _http(self, wanted: WebFile) -> m.ResolvedHttp:
        async with self._builds.fetching(self._client, self._trace).tree(wanted) as tree:
            path = tree.directory / wanted.name
            digest = await to_walk_thread(_digest, path)
            modified = int(os.stat(path).st_mtime)
        return m.ResolvedHttp(digest, wanted.name, Timestamp(modified) if modified else None)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
