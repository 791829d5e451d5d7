"""`corten.build.outputs.contract.Sink` over a connection of frames: files, and directories as tars."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from corten.aio.sources import closing
from corten.build.framed.connection import Channel, Connection
from corten.build.outputs.contract import Blobs, ClientStore, Tree
from corten.build.patience import patient
from corten.errors import Failed, Invalid
from corten.spec import build_frames as f


class FramedSink:
    """For one build."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def file(self, output: int, answer: Mapping[str, str], pieces: AsyncIterator[bytes]) -> None:
        await self._send(output, "file", pieces)

    async def tree(self, output: int, tree: Tree) -> None:
        async with tree.tar() as tar, closing(tar) as pieces:
            await self._send(output, "tree", pieces)

    async def blobs(self, output: int, blobs: Blobs) -> None:
        raise Invalid("this client takes no single blobs: ask for a tar, and unpack it")

    async def _send(self, number: int, kind: str, pieces: AsyncIterator[bytes]) -> None:
        with self._connection.call({"do": "output", "number": number, "kind": kind}) as channel:
            await sent(channel, pieces)

    def contents(self, name: str) -> ClientStore:
        from corten.build.framed.contents import FramedStore  # few builds have a cache at their client

        return FramedStore(self._connection, name)


async def sent(channel: Channel, pieces: AsyncIterator[bytes]) -> None:
    """Until the client has all of it, or says that it needs no more. Raises Failed for its own error."""
    async for piece in pieces:
        for at in range(0, len(piece), f.PIECE):
            await patient(channel.send_slowly(f.DATA, piece[at : at + f.PIECE]))
        if channel.came:
            break
    else:
        channel.send(f.END)
    kind, data = await patient(channel.receive())
    if kind == f.ABSENT:
        raise Invalid("the client takes no files: it has given no destination")
    if kind != f.END:
        raise Failed(f"the client does not take the output: {data[:1000].decode('utf-8', 'replace')}")
