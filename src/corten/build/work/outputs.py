"""`corten.build.outputs.contract.TreeReader`: trees for outputs, read by confined processes (`supervisor.outputs`)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import msgspec

from corten.build.contract import StageTree
from corten.build.outputs.contract import PlatformTree, Walk
from corten.build.work.rooms import Rooms, collected, view_of
from corten.kernel import memfd
from corten.spec.json import Json

_SUBJECTS = 64 << 20  # bytes of the names of files, with their digests


class Reader:
    """For all builds. The trees are leased by the caller."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    @asynccontextmanager
    async def tar(self, trees: Sequence[PlatformTree], epoch: int | None) -> AsyncIterator[AsyncIterator[bytes]]:
        with _extra(trees) as extra:
            request = self._request("output tar", trees, epoch)
            async with self._rooms.steps.stream(request, [extra]) as streamed:
                yield streamed.pieces()

    @asynccontextmanager
    async def walk(self, trees: Sequence[PlatformTree], epoch: int | None) -> AsyncIterator[Walk]:
        with _extra(trees) as extra:
            request = self._request("output send", trees, epoch)
            async with self._rooms.steps.asked(request, [extra]) as asked:
                yield asked

    async def digests(self, top: str | None) -> dict[str, str]:
        if top is None:
            return {}
        request = {"do": "output digests", "tree": view_of(self._rooms, StageTree(top)).entry()}
        refusal = f"the files of the result are too many to be named: more than {_SUBJECTS} bytes"
        async with self._rooms.steps.stream(request, []) as streamed:
            data = await collected(streamed, _SUBJECTS, refusal)
        return await asyncio.to_thread(_digests, data)

    def _request(self, do: str, trees: Sequence[PlatformTree], epoch: int | None) -> Json:
        return {"do": do, "epoch": epoch, "trees": [self._entry(each) for each in trees]}

    def _entry(self, tree: PlatformTree) -> Json:
        mount = view_of(self._rooms, StageTree(tree.top)).entry() if tree.top is not None else None
        extra = [(each.name, len(each.data)) for each in tree.extra]
        return {"mount": mount, "directory": tree.directory, "extra": extra}


def _digests(data: bytes) -> dict[str, str]:
    lines = (msgspec.json.decode(line, type=tuple[str, str]) for line in data.splitlines())
    return {path: f"sha256:{value}" for path, value in lines}


@contextmanager
def _extra(trees: Sequence[PlatformTree]) -> Iterator[int]:
    """A file in memory with the contents of all extra files, one behind the other."""
    fd = memfd.holding("extra", (each.data for tree in trees for each in tree.extra))
    try:
        yield fd
    finally:
        os.close(fd)
