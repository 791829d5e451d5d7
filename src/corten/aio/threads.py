"""Threads for what blocks, so that no kind of work keeps another from one.

    asyncio.to_thread     what is done in milliseconds: one piece of a file, one document
    walking               counting trees: as long as there are files (df, ps -s, check)
    erasing               trees of any size, behind an answer
    settling              what the disk has to finish, and a request waits for: syncs, collections
    alone                 what a container or a dead mount can hold up: a thread for each call
    store.feed            who sends: a thread for each

A thread cannot be cancelled. Nothing that waits for another process or for the network may be done in one that is
shared.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar, cast

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


async def alone(
    work: Callable[[], T], seconds: float | None = None, undo: Callable[[T], object] = lambda made: None
) -> T:
    """What `work` returns, in a thread of its own. Raises TimeoutError after `seconds`; the thread then ends whenever
    the kernel lets it, keeps no process from its end, and what it returns is undone."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if done.done():
            if error is None:
                undo(cast(T, result))
        elif error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast(T, result))

    def run() -> None:
        result, failed = None, None
        try:
            result = work()
        except BaseException as error:
            failed = error
        with suppress(RuntimeError):  # the loop is closed: the result is of no use any more
            loop.call_soon_threadsafe(deliver, result, failed)

    threading.Thread(target=run, name="alone", daemon=True).start()
    async with asyncio.timeout(seconds):
        return await done


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
