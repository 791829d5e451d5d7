"""The client of a classic build: its context came as a tar, its registries' credentials in a header."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from corten.build.contexts import Context
from corten.build.contract import Agent, Received, SourceTree
from corten.errors import NotFound
from corten.spec.dockerfile.ignore import Patterns

_HUB = "https://index.docker.io/v1/"
_HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")


class ArchiveClient:
    """`corten.build.contract.Client`. `context` None: there are no files. `credentials` is registry to (user,
    password), or to ("", identity token)."""

    def __init__(self, context: Context | None, credentials: Mapping[str, tuple[str, str]]) -> None:
        self._context = context
        self._read: set[str] = set()
        self._credentials = {_host(name): value for name, value in credentials.items()}

    async def files(self, source: str, names: Sequence[str]) -> Mapping[str, bytes]:
        if self._context is None:
            return {}
        found = await asyncio.to_thread(self._context.found, names)
        self._read.update(found)
        return found

    async def tree(self, source: str, follow: Sequence[str], exclude: Sequence[str], received: Received) -> SourceTree:
        """What was sent. A client leaves out what is excluded, but for what the builder itself reads: that is taken
        away here."""
        if self._context is None:
            raise NotFound("there is no context: the Dockerfile was all that was sent")
        await asyncio.to_thread(_discard, self._context, sorted(self._read), Patterns(exclude))
        return SourceTree(self._context.id, self._context.directory, self._context.sums, holder=self._context.holder)

    async def secret(self, id: str) -> bytes | None:
        return None

    async def agent(self, id: str) -> Agent | None:
        return None

    async def credentials(self, host: str) -> tuple[str, str] | None:
        return self._credentials.get(_host(host))


def _discard(context: Context, names: Sequence[str], excluded: Patterns) -> None:
    for name in names:
        if excluded.excludes(name.strip("/")):
            context.discard(name)


def _host(name: str) -> str:
    """The name of a registry without scheme and path; one name for Docker Hub."""
    host = name.rpartition("://")[2].partition("/")[0]
    return _HUB if host in _HUB_HOSTS else host
