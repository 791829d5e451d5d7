"""`corten.build.contract.Client` over a session: what a build asks of the client that it is for."""

from __future__ import annotations

import asyncio
import socket
import urllib.parse
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

from corten.aio.threads import DISK, run_uncancelled
from corten.aio.turns import receive
from corten.build.contexts import SMALL, Context
from corten.build.contract import Agent, Received, SourceTree
from corten.build.patience import patient
from corten.build.transfer.sink import TreeSink
from corten.build.transfer.small import Small
from corten.build.transfer.taken import TakenTrees
from corten.build.trees import Trees
from corten.buildkit.packets import Packets
from corten.buildkit.sessions import Session
from corten.errors import Failed, Invalid, Unavailable
from corten.http2 import grpc
from corten.http2.channel import StreamReset
from corten.spec.protobuf import session as m
from corten.spec.protobuf.codec import Message

M = TypeVar("M", bound=Message)
_FILES = "/moby.filesync.v1.FileSync/DiffCopy"
_CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
_CHECK_AGENT, _AGENT = "/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"
_UPLOAD = "/moby.upload.v1.Upload/Pull"
_ABSENT = (grpc.NOT_FOUND, grpc.UNIMPLEMENTED, grpc.UNAVAILABLE)
_PATIENCE = 30.0  # seconds for a small answer
_ENTRIES = 1000  # in a transfer of a few small files: with the directories and links on the way
_PIECE = 1 << 16
_SECRET_SIZE = 1 << 20
_HUB = "https://index.docker.io/v1/"


class SessionClient:
    """One for each build. `others` are sessions that serve a source in this one's place; `context` is one that came as
    a tar. `close` it at the end."""

    def __init__(
        self,
        session: Session,
        trees: Trees,
        others: Mapping[str, Session] | None = None,
        names: Mapping[str, str] | None = None,
        context: Context | None = None,
    ) -> None:
        self._session = session
        self._taken = TakenTrees(trees)
        self._others = others or {}
        self._names = names or {}  # of sources, as the client calls them
        self.context = context

    async def close(self) -> None:
        """What was received is kept for the next build."""
        await self._taken.close()

    # --------------------------------------------------------------------------------------------------------- files

    async def files(self, source: str, names: Sequence[str]) -> Mapping[str, bytes]:
        if self.context is not None and source not in self._names:
            return await asyncio.to_thread(self.context.found, names)
        sink = Small(SMALL)
        await self._transfer(source, Packets(sink, _ENTRIES, 4 * SMALL), [("followpaths", names)], _ignored)
        found = {name: sink.found(name) for name in names}
        return {name: content for name, content in found.items() if content is not None}

    async def tree(self, source: str, follow: Sequence[str], exclude: Sequence[str], received: Received) -> SourceTree:
        if self.context is not None and source not in self._names:
            return SourceTree(self.context.id, self.context.directory, self.context.sums, holder=self.context.holder)
        session = self._of(source)
        filters = [("followpaths", follow), ("exclude-patterns", exclude)]

        async def transfer(sink: TreeSink) -> None:
            await self._transfer(source, Packets(sink), filters, received)

        key = f"{session.key}\0{source}" if session.key else session.id
        return await self._taken.receive(key, bool(session.key), transfer)

    def _of(self, source: str) -> Session:
        return self._others.get(source, self._session)

    async def _transfer(
        self, source: str, packets: Packets, filters: Sequence[tuple[str, Sequence[str]]], received: Received
    ) -> None:
        session = self._of(source)
        if not session.has(_FILES):
            raise Invalid(f"the client has no files to send: {source}")
        headers = [("dir-name", _encoded(self._names.get(source, source))[0])]
        for key, values in filters:
            found, encoded = _all_encoded(values)
            headers += [(key, value) for value in found]
            headers += [(f"{key}-encoded", "1")] if encoded else []
        try:
            async with grpc.calling(session.channel, _FILES, headers) as call:
                await _received(call, packets, received)
        except grpc.Status as status:
            raise Failed(f"failed to load the context: {status}") from None
        except StreamReset as reset:
            raise Unavailable(f"the client ended the transfer of {source}: {reset}") from None

    async def upload(self, path: str, host: str) -> AsyncIterator[bytes]:
        """A tar that the client has on its standard input."""
        try:
            async with grpc.calling(self._session.channel, _UPLOAD, [("urlpath", path), ("urlhost", host)]) as call:
                await call.stream.write(b"", end=True)
                while (message := await _next(call)) is not None:
                    yield m.BytesMessage.decode(message).data
                grpc.finish(call.stream)
        except (grpc.Status, StreamReset) as error:
            raise Failed(f"the client's upload failed: {error}") from None

    # ------------------------------------------------------------------------------------------------- small answers

    async def secret(self, id: str) -> bytes | None:
        answer = await self._ask(_SECRET, m.GetSecretRequest(id), m.GetSecretResponse)
        if answer is not None and len(answer.data) > _SECRET_SIZE:
            raise Invalid(f"the secret {id} is larger than {_SECRET_SIZE} bytes")
        return answer.data if answer is not None else None

    async def credentials(self, host: str) -> tuple[str, str] | None:
        server = _HUB if host == "docker.io" else host
        answer = await self._ask(_CREDENTIALS, m.CredentialsRequest(server), m.CredentialsResponse)
        if answer is None or not (answer.username or answer.secret):
            return None
        return answer.username, answer.secret

    async def agent(self, id: str) -> Agent | None:
        answer = await self._ask(_CHECK_AGENT, m.CheckAgentRequest(id), m.BytesMessage, (*_ABSENT, grpc.UNKNOWN))
        return _Agent(self._session, id) if answer is not None else None

    async def _ask(self, method: str, request: Message, kind: type[M], absent: Sequence[int] = _ABSENT) -> M | None:
        """None when the client has none of it: it does not serve the method, or answers with a status of `absent`.
        Raises Failed, Unavailable."""
        if not self._session.has(method):
            return None
        try:
            answer = await grpc.unary(self._session.channel, method, request.encode(), seconds=_PATIENCE)
        except grpc.Status as status:
            if status.code in absent:
                return None
            raise Failed(str(status)) from None
        return kind.decode(answer)


class _Agent:
    """The client's SSH agent: a stream for each connection."""

    def __init__(self, session: Session, id: str) -> None:
        self._session = session
        self._id = id

    async def connect(self, fd: int) -> None:
        sock = socket.socket(fileno=fd)
        with sock:
            sock.setblocking(False)
            async with grpc.calling(self._session.channel, _AGENT, [("buildkit.ssh.id", self._id)]) as call:
                sending = asyncio.ensure_future(_to_agent(sock, call))
                try:
                    await _from_agent(sock, call)
                finally:
                    sending.cancel()
                    await asyncio.wait({sending})
                    if not sending.cancelled():
                        sending.exception()  # seen: the other direction's end says it


async def _to_agent(sock: socket.socket, call: grpc.Call) -> None:
    while data := await receive(sock, _PIECE):
        await call.send(m.BytesMessage(data).encode())
    await call.stream.write(b"", end=True)


async def _from_agent(sock: socket.socket, call: grpc.Call) -> None:
    loop = asyncio.get_running_loop()
    while (message := await call.receive()) is not None:
        await loop.sock_sendall(sock, m.BytesMessage.decode(message).data)


# -------------------------------------------------------------------------------------------------- receiving a walk


async def _received(call: grpc.Call, packets: Packets, received: Received) -> None:
    """Until the sender has said all. Requests are sent beside: a sender that waits for room reads none."""
    sender = _Sender(call)
    writing = asyncio.create_task(sender.run())
    try:
        while not packets.finished:
            data = await patient(call.stream.read())
            if not data:
                grpc.finish(call.stream)
                raise Failed("the client ended the transfer before everything was there")
            sender.add(await run_uncancelled(partial(packets.feed, data), pool=DISK))
            received(packets.received)
            if writing.done():
                writing.result()
    finally:
        writing.cancel()
        await asyncio.wait({writing})
        if not writing.cancelled():
            writing.exception()  # seen
    await call.stream.write(b"", end=True)
    while await patient(call.stream.read()):
        pass
    grpc.finish(call.stream)


class _Sender:
    def __init__(self, call: grpc.Call) -> None:
        self._call = call
        self._waiting: list[bytes] = []
        self._news = asyncio.Event()

    def add(self, data: bytes) -> None:
        if data:
            self._waiting.append(data)
            self._news.set()

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            data = b"".join(self._waiting)
            self._waiting.clear()
            await self._call.stream.write(data)


async def _next(call: grpc.Call) -> bytes | None:
    return await patient(call.receive())


def _encoded(value: str) -> tuple[str, bool]:
    plain = value.isascii() and value.isprintable()
    return (value, False) if plain else (urllib.parse.quote_plus(value), True)


def _all_encoded(values: Sequence[str]) -> tuple[list[str], bool]:
    """All of a key, or none."""
    if any(_encoded(value)[1] for value in values):
        return [urllib.parse.quote_plus(value) for value in values], True
    return list(values), False


def _ignored(count: int) -> None:
    return
