"""Threads for what blocks, so that no kind of work keeps another from one.

    asyncio.to_thread     what is done in milliseconds: one piece of a file, one document
    walking               counting trees: as long as there are files (df, ps -s, check)
    erasing               trees of any size, behind an answer
    settling              what the disk has to finish, and a request waits for: syncs, collections
    store.feed            who sends: a thread for each

A thread cannot be cancelled. Nothing that waits for another process or for the network may be done in one of these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_walks = ThreadPoolExecutor(2, "walk")
_erasures = ThreadPoolExecutor(1, "erase")
DISK = ThreadPoolExecutor(4, "disk")


async def walking(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns, which looks at as many files as there are. Two at a time, in their order."""
    return await asyncio.get_running_loop().run_in_executor(_walks, partial(work, *args, **kwargs))


async def erasing(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns, which erases as many files as there are. One at a time, in their order."""
    return await asyncio.get_running_loop().run_in_executor(_erasures, partial(work, *args, **kwargs))


async def settling(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns, which waits for the disk. Four at a time, in their order."""
    return await asyncio.get_running_loop().run_in_executor(DISK, partial(work, *args, **kwargs))


async def to_its_end(
    work: Callable[[], T], undo: Callable[[T], object] = lambda made: None, pool: Executor | None = None
) -> T:
    """What `work` returns. A cancelled caller waits for it, and has what was made for nobody undone."""
    task = asyncio.get_running_loop().run_in_executor(pool, work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if task.exception() is None:
            undo(task.result())
        raise
