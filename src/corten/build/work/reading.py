"""`corten.build.outputs.contract.TreeReader`: trees of the store, read by confined processes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from corten.build.contract import StageTree
from corten.build.outputs.contract import PlatformTree, Walk
from corten.build.work.rooms import Rooms, view_of
from corten.spec.json import Json


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

    def _request(self, do: str, trees: Sequence[PlatformTree], epoch: int | None) -> Json:
        return {"do": do, "epoch": epoch, "trees": [self._entry(each) for each in trees]}

    def _entry(self, tree: PlatformTree) -> Json:
        mount = view_of(self._rooms, StageTree(tree.top)).entry() if tree.top is not None else None
        extra = [(each.name, len(each.data)) for each in tree.extra]
        return {"mount": mount, "directory": tree.directory, "extra": extra}


@contextmanager
def _extra(trees: Sequence[PlatformTree]) -> Iterator[int]:
    """A file in memory with the contents of all extra files, one behind the other."""
    fd = os.memfd_create("extra", os.MFD_CLOEXEC)
    try:
        for tree in trees:
            for each in tree.extra:
                view = memoryview(each.data)
                while view:
                    view = view[os.write(fd, view) :]
        yield fd
    finally:
        os.close(fd)
