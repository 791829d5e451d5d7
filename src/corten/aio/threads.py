"""Threads for what blocks, so that no kind of work keeps another from one.

    asyncio.to_thread     what is done in milliseconds: one piece of a file, one document
    to_walk_thread        counting trees: as long as there are files (df, ps -s, check)
    to_removal_thread     removal of trees of any size, after the response
    to_disk_thread        what the disk has to finish while a request waits: syncs, collections
    alone                 what a container or a mount that does not answer can block: a thread for each call
    answered              the same for a file of this host that a client or an administrator has named
    store.feed            streams from clients: a thread for each

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

from corten.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")
_LOOK = 10.0  # seconds
_WALKS = ThreadPoolExecutor(2, "walk")
_REMOVALS = ThreadPoolExecutor(1, "erase")
DISK = ThreadPoolExecutor(4, "disk")


async def to_walk_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work`, which walks any number of files, and return its result. Two at a time, first come first served."""
    return await asyncio.get_running_loop().run_in_executor(_WALKS, partial(work, *args, **kwargs))


async def to_removal_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work`, which removes any number of files, and return its result. One at a time, first come first served."""
    return await asyncio.get_running_loop().run_in_executor(_REMOVALS, partial(work, *args, **kwargs))


async def to_disk_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work`, which waits for the disk, and return its result. Four at a time, first come first served."""
    return await asyncio.get_running_loop().run_in_executor(DISK, partial(work, *args, **kwargs))


async def alone(
    work: Callable[[], T], seconds: float | None = None, undo: Callable[[T], object] = lambda made: None
) -> T:
    """Run `work` in a thread of its own and return its result.

    Raises TimeoutError after `seconds`; the thread then ends when the kernel returns, delays no process's exit, and its
    result is passed to `undo`.
    """
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


async def answered(look: Callable[[], T], what: str, undo: Callable[[T], object] = lambda made: None) -> T:
    """What `look` says of a file of this host, whose file system may not answer: Unavailable after ten seconds, with
    `what` it is."""
    try:
        return await alone(look, _LOOK, undo)
    except TimeoutError:
        raise Unavailable(f"{what} is on a file system that does not answer") from None


async def run_uncancelled(
    work: Callable[[], T], undo: Callable[[T], object] = lambda made: None, pool: Executor | None = None
) -> T:
    """Run `work` and return its result. If the caller is cancelled, however often, waits for it and passes its result
    to `undo`."""
    task = asyncio.get_running_loop().run_in_executor(pool, work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if task.exception() is None:
            undo(task.result())
        raise
