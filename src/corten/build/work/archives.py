"""Archives among the sources of an ADD: found by their content, decompressed here, each applied by a confined process
to a directory of its own, whose content is then copied as any other is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from corten.aio.sources import closing
from corten.build.contexts import bounded, ended
from corten.build.work.rooms import Rooms
from corten.errors import Invalid
from corten.layers.header import BLOCK, parse_header
from corten.snapshots.tree_store import Draft
from corten.spec.json import Json
from corten.spec.mounts import Mount
from corten.store.compression import MAGIC
from corten.store.feed import decoded
from corten.tasks import answers
from corten.tasks.trees import pipe

_PIECE = 1 << 20


@asynccontextmanager
async def unpacked(rooms: Rooms, sources: Json) -> AsyncIterator[Json]:
    """`sources`, and what was unpacked of them as further trees: {"archives": [[number, tree]]}. Until the block ends.

    Raises Invalid for a damaged archive; what only looks like one is a file.
    """
    heads = [magic.hex() for magic, _ in MAGIC]
    answer, files = await rooms.steps.files({"do": "step files", **sources, "parents": False, "heads": heads})
    async with AsyncExitStack() as held:
        for fd in files:
            held.callback(os.close, fd)
        trees, archives = list(sources["trees"]), list[list[int]]()
        for number, fd in zip(answer["numbers"], files, strict=True):
            if not await _is_tar(fd):
                continue
            draft = rooms.trees.receive()
            held.callback(rooms.trees.discard, draft)
            await _unpack(rooms, fd, draft)
            archives.append([number, len(trees)])
            trees.append(Mount("bind", str(draft.path), "/", ("bind", "ro")).entry())
        yield {**sources, "trees": trees, "archives": archives}


async def _is_tar(fd: int) -> bool:
    head = b""
    try:
        async with closing(decoded(_pieces(fd))) as pieces:
            async for piece in pieces:
                head += piece
                if len(head) >= BLOCK:
                    break
        return len(head) >= BLOCK and parse_header(head[:BLOCK]) is not None
    except Invalid:
        return False


async def _unpack(rooms: Rooms, fd: int, draft: Draft) -> None:
    with pipe() as (reader, writer):
        os.set_blocking(reader.fd, True)
        working = asyncio.ensure_future(rooms.unpack(draft.path, reader.fd))
        working.add_done_callback(lambda _: reader.close())  # or a write would wait for what nothing reads
        try:
            with suppress(BrokenPipeError):  # it has ended: its answer says why
                async for piece in bounded(_pieces(fd), "archive"):
                    await answers.write(writer.fd, piece)
        finally:
            writer.close()  # which ends it
            await ended(working)
        working.result()


async def _pieces(fd: int) -> AsyncIterator[bytes]:
    at = 0
    while piece := await asyncio.to_thread(os.pread, fd, _PIECE, at):
        at += len(piece)
        yield piece
