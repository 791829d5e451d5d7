"""A context at a URL: a git repository, a tar, or a Dockerfile without a context. For every face the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from corten.aio.whole import to_the_end
from corten.build.archive import ArchiveClient
from corten.build.attributes import redacted
from corten.build.contexts import Context
from corten.build.contract import Agent, BuildRequest, Client, Fetched, Received, SourceTree
from corten.build.fetched import Fetching, GitFiles
from corten.errors import Unsupported
from corten.spec.git_url import GitUrl, parse
from corten.units.booleans import TRUE

_OWN = ("context", "dockerfile")  # sources that are in the context
_KEEP_GIT = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"


@asynccontextmanager
async def opened(
    request: BuildRequest, client: Client, fetching: Fetching
) -> AsyncIterator[tuple[BuildRequest, Client]]:
    """The request and the client of a build whose context is at `request.remote`: fetched, and here until the block
    ends. Both as they are when it is not. Raises what `Fetching` raises, Unsupported."""
    remote = request.remote
    if not remote:
        yield request, client
        return
    context, text, digest = None, b"", ""
    if (git := remote if isinstance(remote, GitUrl) else parse(remote, short=True)) is not None:
        keep = git.keep_git_dir or request.arguments.get(_KEEP_GIT) in TRUE
        context, digest = await fetching.checkout(GitFiles(git, bool(keep)))
    elif str(remote).startswith(("http://", "https://")):
        context, text, digest = await fetching.web(str(remote))
    else:
        raise Unsupported(f"a context at {str(remote)[:200]!r} is not supported: http, https and git are")
    try:
        own = None if context is not None or request.local_dockerfile else text
        come = Fetched(redacted(str(remote) if git is None else git.shown), digest)
        yield replace(request, remote="", context=come, text=own), _Remote(client, context, request)
    finally:
        if context is not None:
            await to_the_end(context.remove())


class _Remote:
    """`corten.build.contract.Client`: the context and, unless it is the client's, the Dockerfile are at a URL; all else
    is the client's. A .dockerignore is for those who send a context: of this one nothing is left out, by the classic
    builder's rules at most what it has read itself."""

    def __init__(self, client: Client, context: Context | None, request: BuildRequest) -> None:
        self._client = client
        self._context = ArchiveClient(context, {})
        self._own = _OWN[:1] if request.local_dockerfile else _OWN
        self._classic = request.classic

    async def files(self, source: str, names: Sequence[str]) -> Mapping[str, bytes]:
        return await (self._context if source in self._own else self._client).files(source, names)

    async def tree(self, source: str, follow: Sequence[str], exclude: Sequence[str], received: Received) -> SourceTree:
        if source in self._own:
            return await self._context.tree(source, follow, exclude if self._classic else (), received)
        return await self._client.tree(source, follow, exclude, received)

    async def secret(self, id: str) -> bytes | None:
        return await self._client.secret(id)

    async def agent(self, id: str) -> Agent | None:
        return await self._client.agent(id)

    async def credentials(self, host: str) -> tuple[str, str] | None:
        return await self._client.credentials(host)
