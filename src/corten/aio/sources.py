"""Asynchronous iterators that are closed in time, and read no longer than what they are read for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def closing(source: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """`source`, closed at the end of the block.

    A generator that is left half-way after an error keeps what it holds, files and watches, until the collector of
    cyclic garbage gets to it: the error's traceback refers to it. In a daemon at rest that can take for ever.
    """
    try:
        yield source
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


async def run_until(end: Coroutine[Any, Any, object], work: Coroutine[Any, Any, None]) -> None:
    """Run `work`, which waits for a source, to its end or to that of `end`, where nothing takes what the source sends:
    then it is cancelled. Raises what `work` raises; what `end` is about is asked for afterwards."""
    working, ending = asyncio.ensure_future(work), asyncio.ensure_future(end)
    try:
        try:
            await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()
            ending.cancel()
            await asyncio.gather(working, ending, return_exceptions=True)
        if not working.cancelled():
            working.result()
    finally:
        del working, ending  # an error's traceback refers to this frame
