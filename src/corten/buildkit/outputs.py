"""`corten.build.outputs.contract.Sink` over a session: `moby.filesync.v1.FileSend`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from corten.aio.sources import closing
from corten.aio.tasks import end
from corten.build.outputs.contract import Blobs, Tree, Walk
from corten.build.patience import both_ways, patient
from corten.buildkit.contents import ContentStore
from corten.buildkit.sending import Asking
from corten.buildkit.sessions import Session
from corten.errors import Failed, Invalid, Unavailable
from corten.http2 import grpc
from corten.http2.channel import StreamReset
from corten.spec.protobuf.session import BytesMessage

_SEND = "/moby.filesync.v1.FileSend/DiffCopy"
_NUMBER, _METADATA = "buildkit-attachable-exporter-id", "exporter-md-"
_PIECE = 1 << 20  # bytes of a message; clients take 3 MiB and more
_STORE = "export"  # what clients call the directory of an output with tar=false
_THERE = 6  # gRPC's ALREADY_EXISTS: the client has what it was to be sent


class SessionSink:
    """For one build."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def file(self, output: int, answer: Mapping[str, str], pieces: AsyncIterator[bytes]) -> None:
        described = [(_METADATA + key, value) for key, value in answer.items()]
        async with self._call(output, described) as call:
            try:
                async for piece in pieces:
                    for at in range(0, len(piece), _PIECE):
                        await patient(call.send(BytesMessage(piece[at : at + _PIECE]).encode()))
                await call.stream.write(b"", end=True)
                while await patient(call.stream.read()):
                    pass
                grpc.finish(call.stream)
            except grpc.Status as status:
                if status.code != _THERE:
                    raise

    async def tree(self, output: int, tree: Tree) -> None:
        async with tree.walk() as walk, self._call(output, [("buildkit-exporter-multi-platform", "1")]) as call:
            async with both_ways() as alive:
                answering = asyncio.ensure_future(_answer(call, walk, alive))
                sending = asyncio.ensure_future(_send(call, walk, alive))
                try:
                    await asyncio.gather(answering, sending)
                finally:
                    await end([answering, sending])
            grpc.finish(call.stream)

    async def blobs(self, output: int, blobs: Blobs) -> None:
        store = ContentStore(self._session, _STORE)
        for blob in blobs.descriptors:
            async with closing(blobs.pieces(blob)) as pieces:
                await store.write(blob, pieces)

    def contents(self, name: str) -> ContentStore:
        return ContentStore(self._session, name)

    @asynccontextmanager
    async def _call(self, output: int, metadata: Sequence[tuple[str, str]]) -> AsyncIterator[grpc.Call]:
        """Raises Invalid when the client takes no files, Failed for its own error, Unavailable when it has gone."""
        if not self._session.has(_SEND):
            raise Invalid("the client takes no files: it has given no destination")
        try:
            async with grpc.calling(self._session.channel, _SEND, [(_NUMBER, str(output)), *metadata]) as call:
                yield call
        except grpc.Status as status:
            raise Failed(f"the client does not take the output: {status}") from None
        except StreamReset as reset:
            raise Unavailable(f"the client ended the transfer of the output: {reset}") from None


async def _send(call: grpc.Call, walk: Walk, alive: Callable[[], None]) -> None:
    async with closing(walk.pieces()) as pieces:
        async for piece in pieces:
            await call.stream.write(piece)
            alive()
    await call.stream.write(b"", end=True)


async def _answer(call: grpc.Call, walk: Walk, alive: Callable[[], None]) -> None:
    """What the receiver asks for, until it has everything and has ended."""
    asking = Asking()
    while data := await call.stream.read():
        alive()
        if numbers := asking.feed(data):
            await walk.ask(numbers)
        if asking.finished:
            walk.finish()
    if not asking.finished:
        grpc.finish(call.stream)
        raise Failed("the client ended the transfer before everything was there")
