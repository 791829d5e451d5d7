"""Work in a thread for a task that may be cancelled meanwhile: the thread cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def to_its_end(work: Callable[[], T], undo: Callable[[T], object] = lambda made: None) -> T:
    """What `work` returns. A cancelled caller waits for it, and has what was made for nobody undone."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if task.exception() is None:
            undo(task.result())
        raise
