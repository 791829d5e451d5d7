"""Tasks that are ended together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel those that run, and wait until all have ended, however often this is cancelled meanwhile."""
    waiting = set(tasks)
    for task in waiting:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while waiting:
        try:
            _, waiting = await asyncio.wait(waiting)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def together(work: Iterable[Awaitable[T]]) -> list[T]:
    """Run all at once; the first error cancels the rest, and is raised when they have ended."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end(tasks)
