"""`corten.build.contract.Client` over a connection of frames."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from corten.aio.threads import DISK, run_uncancelled
from corten.build.contexts import SMALL, Context
from corten.build.contract import Received, SourceTree
from corten.build.framed.connection import Connection
from corten.build.framed.listing import Listing
from corten.build.framed.streams import ForwardedAgent
from corten.build.patience import patient
from corten.build.transfer.receiving import Receiver
from corten.build.transfer.sink import TreeSink
from corten.build.transfer.small import Small
from corten.build.transfer.taken import TakenTrees
from corten.build.trees import Trees
from corten.errors import Failed, Invalid
from corten.spec import build_frames as f
from corten.spec.json import Json

_PATIENCE = 30.0  # seconds for a small answer
_ENTRIES = 1000  # in a transfer of a few small files: with the directories and links on the way
_ANSWER = 1 << 20  # bytes of a secret


class FramedClient:
    """One for each build. `keys` name the directories that the client has, by source; "" is one whose files are not
    kept. `close` it at the end."""

    def __init__(self, connection: Connection, trees: Trees, keys: Mapping[str, str]) -> None:
        self._connection = connection
        self._taken = TakenTrees(trees)
        self._keys = keys
        self.context: Context | None = None  # where it came as a tar

    async def close(self) -> None:
        """What was received is kept for the next build."""
        await self._taken.close()

    # --------------------------------------------------------------------------------------------------------- files

    async def files(self, source: str, names: Sequence[str]) -> Mapping[str, bytes]:
        if source not in self._keys:
            return await asyncio.to_thread(self.context.found, names) if self.context is not None else {}
        sink = Small(SMALL)
        await self._transfer(source, Receiver(sink, _ENTRIES, 4 * SMALL), names, (), lambda count: None)
        found = {name: sink.found(name) for name in names}
        return {name: content for name, content in found.items() if content is not None}

    async def tree(self, source: str, follow: Sequence[str], exclude: Sequence[str], received: Received) -> SourceTree:
        if source not in self._keys and self.context is not None:
            return SourceTree(self.context.id, self.context.directory, self.context.sums, holder=self.context.holder)
        key = self._keys.get(source, "")

        async def transfer(sink: TreeSink) -> None:
            await self._transfer(source, Receiver(sink), follow, exclude, received)

        return await self._taken.receive(key or os.urandom(16).hex(), bool(key), transfer)

    async def _transfer(
        self, source: str, receiver: Receiver, follow: Sequence[str], exclude: Sequence[str], received: Received
    ) -> None:
        if source not in self._keys:
            raise Invalid(f"the client has no files to send: {source}")
        listing = Listing(receiver)
        request = {"do": "walk", "source": source, "follow": list(follow), "exclude": list(exclude)}
        with self._connection.call(request) as channel:
            while not receiver.complete:
                frames = await patient(channel.receive_all())
                wanted = await run_uncancelled(partial(listing.feed, frames), pool=DISK)
                for at in range(0, len(wanted), f.PIECE):
                    channel.send(f.WANTED, wanted[at : at + f.PIECE])
                received(receiver.received)

    async def upload(self) -> AsyncIterator[bytes]:
        """A tar that the client has on its standard input."""
        with self._connection.call({"do": "upload"}) as channel:
            while (data := _piece(*await patient(channel.receive()))) is not None:
                if data:
                    yield data

    # ------------------------------------------------------------------------------------------------- small answers

    async def secret(self, id: str) -> bytes | None:
        return await self._ask({"do": "secret", "id": id}, f"the secret {id}")

    async def credentials(self, host: str) -> tuple[str, str] | None:
        answer = await self._ask({"do": "credentials", "host": host}, f"the credentials of {host}")
        return _credentials(answer) if answer is not None else None

    async def agent(self, id: str) -> ForwardedAgent | None:
        found = await self._ask({"do": "agent", "id": id}, f"the agent {id}")
        return ForwardedAgent(self._connection, id) if found is not None else None

    async def _ask(self, request: Json, what: str) -> bytes | None:
        """None when the client has none of it. Raises Failed with its own words, Invalid, Unavailable."""
        found = bytearray()
        with self._connection.call(request) as channel:
            while True:
                kind, data = await patient(channel.receive(), _PATIENCE)
                if kind == f.ABSENT:
                    return None
                piece = _piece(kind, data)
                if piece is None:
                    return bytes(found)
                found += piece
                if len(found) > _ANSWER:
                    raise Invalid(f"{what} is larger than {_ANSWER} bytes")


def _piece(kind: int, data: bytes) -> bytes | None:
    """Of what comes in pieces; None at its end."""
    match kind:
        case f.DATA:
            return data
        case f.END:
            return None
        case f.ERROR:
            raise Failed(f"error from the client: {data[:1000].decode('utf-8', 'replace')}")
    raise Invalid(f"the client answered with a frame of the kind {kind}")


def _credentials(answer: bytes) -> tuple[str, str] | None:
    try:
        found = json.loads(answer)
        user, secret = found["user"], found["secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Invalid("the client's credentials are not JSON of a user and a secret") from None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise Invalid("the client's credentials are not JSON of a user and a secret")
    return (user, secret) if user or secret else None
