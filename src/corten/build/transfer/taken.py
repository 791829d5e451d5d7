"""Directories of clients, as long as one build has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from corten.aio.threads import DISK, run_uncancelled
from corten.build.contract import SourceTree
from corten.build.transfer.sink import TreeSink
from corten.build.trees import Trees


class TakenTrees:
    """For one build, to be closed at its end: what was received whole is kept for the next build."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._taken: dict[Path, int | None] = {}  # bytes of one that is to be kept

    async def receive(self, key: str, keep: bool, work: Callable[[TreeSink], Awaitable[None]]) -> SourceTree:
        """The tree of this key, brought up to date by `work`. `keep` False: it would never be found again."""
        path = await self._trees.taken(key)
        self._taken[path] = None
        sink = await run_uncancelled(partial(TreeSink, path), TreeSink.close, DISK)
        try:
            await work(sink)
        finally:
            sink.close()
        self._taken[path] = sink.bytes if keep else None
        return SourceTree(self._trees.name(path, sink.changed), path, bytes(sink.sums))

    async def close(self) -> None:
        for path, size in self._taken.items():
            await self._trees.give(path, size is not None, size or 0)
        self._taken.clear()
