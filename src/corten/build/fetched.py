"""Trees from git and the web outside of a build's graph: for contexts, and for clients that look into one."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from corten.aio.sources import closing
from corten.aio.whole import to_the_end
from corten.build.contexts import SMALL, Context, archived
from corten.build.contract import Client, Commit, Log, Said, SourceTree, Trace, Vertex
from corten.build.downloads import Downloads
from corten.build.plan.graph import Remote
from corten.build.plan.keys import digest
from corten.build.shared import Shared
from corten.build.vertices import vertex
from corten.errors import Invalid
from corten.registry.client.archives import shown
from corten.spec.git_url import GitUrl

_HEAD = 512  # bytes that say whether something is an archive


@dataclass(frozen=True, slots=True)
class GitFiles:
    url: GitUrl
    keep_git_dir: bool


@dataclass(frozen=True, slots=True)
class WebFile:
    """`name` is what the file is called in the tree; with `unpack` the tree is what is in it, if it is an archive."""

    url: str
    name: str
    checksum: str = ""
    unpack: bool = False


Fetch = GitFiles | WebFile


class Fetching:
    """For one build: its client, and where it says what is done."""

    def __init__(self, shared: Shared, client: Client, trace: Trace) -> None:
        self._contexts = shared.contexts
        self._download = shared.images.download
        self._repositories = shared.workers.repositories
        self._client = client
        self._trace = trace

    @asynccontextmanager
    async def tree(self, wanted: Fetch) -> AsyncIterator[SourceTree]:
        """Until the block ends. Raises what `Repositories` and `Images.download` raise, Invalid."""
        downloads = Downloads(self._contexts, self._download, self._repositories, self._client)
        context: Context | None = None
        try:
            if isinstance(wanted, GitFiles):
                context, _ = await self.checkout(wanted)
            elif wanted.unpack:
                context, _, _ = await self.web(wanted.url)
            if context is not None:
                yield SourceTree(context.id, context.directory, context.sums, holder=context.holder)
            else:
                assert isinstance(wanted, WebFile)
                id = digest("remote", wanted.url)
                async with vertex(self._trace, id, f"[internal] load {shown(wanted.url)}"):
                    node = Remote(id, "", wanted.url, wanted.name, wanted.checksum, (0, 0))
                    tree = await downloads.fetch(node, lambda _: None)
                yield tree
        finally:
            await downloads.close()
            if context is not None:
                await to_the_end(context.remove())

    async def checkout(self, wanted: GitFiles) -> tuple[Context, str]:
        """For the caller to remove, and the digest of its commit."""
        git, repositories = wanted.url, self._repositories()
        async with vertex(self._trace, digest("remote", git.shown), f"[internal] load git source {git.shown}") as row:
            said = self._said(row)
            commit = await repositories.commit(git, self._client, said)
            return await repositories.files(git, commit, wanted.keep_git_dir, self._client, said), commit.digest

    def _said(self, row: Vertex) -> Said:
        return lambda line: self._trace(Log(row.digest, 2, line))

    async def commit(self, url: GitUrl) -> Commit:
        """Which one an address names now."""
        async with vertex(self._trace, digest("commit", url.shown), f"[internal] load metadata for {url.shown}") as row:
            return await self._repositories().commit(url, self._client, self._said(row))

    async def web(self, url: str) -> tuple[Context | None, bytes, str]:
        """What is in the archive at a URL, for the caller to remove, or the small file that is there instead; and the
        digest of either."""
        async with vertex(self._trace, digest("remote", url), "[internal] load remote build context"):
            async with self._download(url) as found:
                head, hash = b"", hashlib.sha256()
                body = _hashed(found.pieces, hash)
                async for piece in body:
                    head += piece
                    if len(head) >= _HEAD:
                        break
                if archived(head):
                    context = await self._contexts.receive(_joined(head, body))
                    return context, b"", f"sha256:{hash.hexdigest()}"
                async for piece in body:
                    head += piece
                    if len(head) > SMALL:
                        raise Invalid(f"the Dockerfile at {shown(url)} is larger than {SMALL} bytes")
            return None, head, f"sha256:{hash.hexdigest()}"


async def _hashed(pieces: AsyncIterator[bytes], hash: hashlib._Hash) -> AsyncIterator[bytes]:
    async with closing(pieces) as found:
        async for piece in found:
            hash.update(piece)
            yield piece


async def _joined(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async with closing(rest) as pieces:
        async for piece in pieces:
            yield piece
