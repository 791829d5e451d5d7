"""`corten.build.contract.Repositories`: git by a confined child (`corten.supervisor.git`), what it brings unpacked as
any context is."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from corten.aio.sources import closing
from corten.aio.threads import to_walk_thread
from corten.aio.whole import cancelled_once, to_the_end
from corten.build.contexts import ALWAYS, Context, Contexts
from corten.build.contract import Client, Commit, Said
from corten.build.trees import Trees
from corten.build.work import memory as in_memory
from corten.build.work.agents import serving
from corten.build.work.rooms import TreeSteps
from corten.errors import Failed, Invalid
from corten.layers import tree as trees
from corten.registry.client.proxies import Proxies
from corten.spec.git_url import GitUrl, is_commit
from corten.spec.json import Json
from corten.supervisor.jail import USER
from corten.tasks import answers
from corten.tasks.trees import pipe

_TOKEN, _HEADER = "GIT_AUTH_TOKEN", "GIT_AUTH_HEADER"  # secrets of the client
_SHARED = ("https://github.com/", "https://www.github.com/")  # where a token is for every repository
_PIECE = 1 << 16
_LINE = 4096  # bytes of one that has no end yet
_PATIENCE = 60.0  # seconds without a word of the other side
_WITHOUT_AGENT = 2  # descriptors
_REDIRECTED = re.compile(r"returned error: 30[1278]\b")
_MOVED = " (a redirect is not followed where a token or password would go with it: build from the new address)"
_PACKS = 100  # files of packs that are kept: more are thrown away, and fetched as one
_NEAR = "localhost,127.0.0.1,::1"  # which no proxy is asked for


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request to a child, and the descriptors for it: a directory, one to hold, and an agent's socket or none."""

    request: Json
    fds: list[int]


class GitRepositories:
    """`memory` is a directory in memory, for sockets; `proxies` are asked for each request, as they may be replaced.
    `kept` has what was fetched before, by address. `patience` is how many seconds a server may be silent."""

    def __init__(
        self,
        contexts: Contexts,
        steps: TreeSteps,
        memory: Path,
        proxies: Callable[[], Proxies],
        kept: Trees,
        patience: float = _PATIENCE,
    ) -> None:
        self._contexts = contexts
        self._steps = steps
        self._memory = memory
        self._proxies = proxies
        self._kept = kept
        self._patience = patience

    async def commit(self, url: GitUrl, client: Client, said: Said) -> Commit:
        if is_commit(url.ref):
            return _checked(url, Commit(url.ref))
        return await cancelled_once(self._commit(url, client, said))

    async def _commit(self, url: GitUrl, client: Client, said: Said) -> Commit:
        async with self._asked(url, client, said) as asked:
            with _explained(url, asked):
                found = await self._steps.ask({"do": "git commit", "ref": url.ref, **asked.request}, asked.fds)
        return _checked(url, Commit(found["commit"], found["ref"], found["tag"]))

    async def files(self, url: GitUrl, commit: Commit, keep_git_dir: bool, client: Client, said: Said) -> Context:
        return await cancelled_once(self._files(url, commit, keep_git_dir, client, said))

    async def _files(self, url: GitUrl, commit: Commit, keep_git_dir: bool, client: Client, said: Said) -> Context:
        wanted = {
            "remote": url.address[0],
            "commit": commit.id,
            "ref": commit.ref,
            "subdir": url.subdir,
            "keep_git_dir": keep_git_dir,
            "submodules": url.submodules,
            "commit_times": url.commit_times,
            "most": ALWAYS,
        }
        async with self._asked(url, client, said) as asked, AsyncExitStack() as stack:
            kept = [] if keep_git_dir else [await stack.enter_async_context(self._known(url.address[0]))]
            request = {"do": "git files", "wanted": wanted, "kept": bool(kept), **asked.request}
            with _explained(url, asked):
                work, said_to, *agent = asked.fds
                return await self._received(request, [work, said_to, *kept, *agent])

    @asynccontextmanager
    async def _known(self, address: str) -> AsyncIterator[int]:
        """A descriptor of what is kept of a repository, which stays where nothing fails. The server is asked each
        time all the same, with the build's own rights."""
        path, fd, whole, size = await self._kept.taken(address), -1, False, 0
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            yield fd
            size = (await to_walk_thread(trees.usage, fd))[0]
            whole = len(os.listdir(path / "objects/pack")) < _PACKS
        finally:
            if fd >= 0:
                os.close(fd)
            await to_the_end(self._kept.give(path, whole, size))

    async def _received(self, request: Json, fds: list[int]) -> Context:
        async with self._steps.stream(request, fds) as streamed, closing(streamed.pieces()) as pieces:
            return await self._contexts.receive(pieces)

    @asynccontextmanager
    async def _asked(self, url: GitUrl, client: Client, said: Said) -> AsyncIterator[_Asked]:
        """What every request has. When the block has ended so has all that the child has begun, and its directory is
        gone."""
        address, user = url.address
        settings = {"remote.origin.url": address} | await _authorization(url, user, client)
        request: Json = {"settings": settings, "proxies": self._variables(), "patience": self._patience, "most": ALWAYS}
        async with AsyncExitStack() as held:
            scratch = await self._contexts.empty()
            held.push_async_callback(scratch.remove)
            reader, writer = held.enter_context(pipe())
            heard = asyncio.ensure_future(_heard(reader.fd, said))
            held.push_async_callback(_ended, heard)
            held.callback(writer.close)  # before it is waited for
            work = os.open(scratch.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, work)
            agent = await self._agent(url, client, held)
            yield _Asked(request, [work, writer.fd, *agent])

    async def _agent(self, url: GitUrl, client: Client, held: AsyncExitStack) -> list[int]:
        """A descriptor of the socket of the client's agent, where the repository is asked by ssh and there is one."""
        agent = await client.agent("default") if url.scheme == "ssh" else None
        if agent is None:
            return []
        directory = in_memory.make(self._memory, secrets.token_hex(16))
        held.callback(in_memory.leave, self._memory)
        held.callback(os.rmdir, directory)
        path = directory / "agent"
        held.callback(_unlinked, path)
        await held.enter_async_context(serving(agent, path, USER, USER, 0o600))
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        held.callback(os.close, fd)
        return [fd]

    def _variables(self) -> dict[str, str]:
        found = self._proxies()
        named = {"http_proxy": found.http, "https_proxy": found.https}
        given = {name: value for name, value in named.items() if value}
        return {**given, "no_proxy": f"{found.none},{_NEAR}".lstrip(",")} if given else {}


def _unlinked(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


async def _heard(fd: int, said: Said) -> None:
    """Give the lines that come to `said`, of a line that is written over and over the last, until nothing holds the
    other end."""
    waiting = b""
    while piece := await _piece(fd):
        *lines, waiting = (waiting + piece).split(b"\n")
        for line in lines:
            said(line.rpartition(b"\r")[2] + b"\n")
        waiting = waiting[-_LINE:]


async def _piece(fd: int) -> bytes:
    await asyncio.sleep(0)  # others have their turn first: a server may have more to say than what is read
    while True:
        try:
            return os.read(fd, _PIECE)
        except BlockingIOError:  # however long: the child has limits of its own
            await answers.readable(fd)


async def _ended(heard: asyncio.Future[None]) -> None:
    await heard


@contextmanager
def _explained(url: GitUrl, asked: _Asked) -> Iterator[None]:
    """Errors of git with the repository's address, and what may help."""
    try:
        yield
    except Failed as error:
        alone = url.scheme == "ssh" and len(asked.fds) <= _WITHOUT_AGENT
        hint = " (no SSH agent came with the build: --ssh default)" if alone else ""
        hint = hint or (_MOVED if _REDIRECTED.search(str(error)) else "")
        raise Failed(f"failed to fetch remote {url.shown}: {error}{hint}") from error


async def _authorization(url: GitUrl, user: str, client: Client) -> dict[str, str]:
    """Settings of git: the header that says who asks, for this remote alone. It would go with a redirect to any host,
    so there no redirect is followed."""
    if url.scheme not in ("http", "https"):
        return {}
    header = f"basic {_encoded(user.encode() if ':' in user else f'{user}:'.encode())}" if user else ""
    header = header or await _secret(url, client)
    if any(ord(character) < 0x20 for character in header):
        raise Invalid(f"the secret {_HEADER} is more than one line")
    scope = next((prefix for prefix in _SHARED if url.address[0].startswith(prefix)), url.address[0])
    if not header:
        return {}
    return {f"http.{scope}.extraHeader": f"Authorization: {header}", f"http.{scope}.followRedirects": "false"}


async def _secret(url: GitUrl, client: Client) -> str:
    """Of the host first, then of all; "" for none."""
    for suffix in (f".{url.host}", ""):
        for name in (_HEADER, _TOKEN):
            data = await client.secret(name + suffix)
            if data is not None:
                data = data.strip()
                return data.decode("utf-8", "replace") if name == _HEADER else _of_token(data)
    return ""


def _of_token(token: bytes) -> str:
    return f"basic {_encoded(b'x-access-token:' + token)}"


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _checked(url: GitUrl, found: Commit) -> Commit:
    if url.checksum and not (found.id.startswith(url.checksum) or found.tag.startswith(url.checksum)):
        raise Invalid(f"expected checksum to match {url.checksum}, got {found.id}")
    return found
