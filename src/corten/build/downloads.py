"""What a build names by an address: files of the web, each downloaded into a directory of its own, and repositories,
fetched when something needs their files."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path

from corten.aio.threads import DISK, run_uncancelled
from corten.aio.whole import to_the_end
from corten.build.contexts import ALWAYS, Context, Contexts
from corten.build.contract import Client, Commit, Received, Repositories, Said, SourceTree
from corten.build.plan.graph import Remote, Repository
from corten.build.plan.keys import digest
from corten.errors import CortenError, Invalid
from corten.registry.client.archives import Download, shown

_AT_A_TIME = 4
Open = Callable[[str], AbstractAsyncContextManager[Download]]


class Downloads:
    """`open` begins a download (`Images.download`). `close` removes the files, at the end of the build. `digests` are
    of what was fetched."""

    def __init__(
        self, contexts: Contexts, open: Open, repositories: Callable[[], Repositories], client: Client
    ) -> None:
        self._contexts = contexts
        self._open = open
        self._repositories = repositories
        self._client = client
        self._checkouts: list[asyncio.Task[Context]] = []
        self._making: asyncio.Task[Context] | None = None
        self._count = 0
        self.digests: dict[str, str] = {}
        self._turns = asyncio.Semaphore(_AT_A_TIME)

    async def fetch(self, remote: Remote, received: Received) -> SourceTree:
        """A directory with the file, which is root's alone, and as old as the server says: of 1970 when it does not.

        Raises Invalid for a file without a name, too large a one, and one of another digest; what `Images.download`
        raises.
        """
        if not remote.file:
            raise Invalid(f"cannot determine filename for source {shown(remote.url)}")
        self._making = self._making or asyncio.create_task(self._contexts.empty())
        context = await asyncio.shield(self._making)
        self._count += 1
        directory = context.directory / f"{self._count}"
        directory.mkdir(mode=0o755)
        async with self._turns, self._open(remote.url) as download:
            digest = await _written(directory / remote.file, download.pieces, remote.url, received)
        if remote.checksum and digest != remote.checksum:
            raise Invalid(f"digest mismatch {digest}: {remote.checksum}")
        self.digests[remote.digest] = digest
        os.utime(directory / remote.file, (download.modified, download.modified))
        return SourceTree(f"{context.id}/{directory.name}", directory)

    async def repository(self, node: Repository, said: Said) -> SourceTree:
        """Which commit it is now; the files are fetched when they are asked for. Raises what `Repositories` raises."""
        repositories, url = self._repositories(), node.url
        async with self._turns:
            commit = await repositories.commit(url, self._client, said)
        self.digests[node.digest] = commit.digest
        named = (url.address[0], commit.id, url.subdir, node.keep_git_dir, url.submodules, url.commit_times)
        making: asyncio.Task[Context] | None = None

        async def bring() -> SourceTree:
            nonlocal making
            if making is None:
                making = asyncio.create_task(self._checkout(node, commit, said))
                self._checkouts.append(making)
            context = await asyncio.shield(making)
            return SourceTree(context.id, context.directory, context.sums, content)

        content = digest("git", *named)
        return SourceTree(content, Path(), b"", content, bring)

    async def _checkout(self, node: Repository, commit: Commit, said: Said) -> Context:
        async with self._turns:
            return await self._repositories().files(node.url, commit, node.keep_git_dir, self._client, said)

    async def close(self) -> None:
        """Removes them, however often this is cancelled meanwhile."""
        await to_the_end(self._remove())

    async def _remove(self) -> None:
        for task in self._checkouts:
            task.cancel()
        for task in [*self._checkouts, *([self._making] if self._making is not None else [])]:
            with suppress(CortenError, OSError, asyncio.CancelledError):  # there is none: said already
                await (await task).remove()


async def _written(path: Path, pieces: AsyncIterator[bytes], url: str, received: Received) -> str:
    """The digest of what was written."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    hash, count = hashlib.sha256(), 0
    with open(fd, "wb", buffering=0) as file:

        def take(piece: bytes) -> None:
            hash.update(piece)
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]

        async for piece in pieces:
            count += len(piece)
            if count > ALWAYS:
                raise Invalid(f"{shown(url)} has more than {ALWAYS} bytes")
            await run_uncancelled(partial(take, piece), pool=DISK)  # which must not write to a file that was closed
            received(count)
    return f"sha256:{hash.hexdigest()}"
