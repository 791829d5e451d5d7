"""How long a client may be silent in the middle of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from corten.errors import Unavailable
from corten.units.durations import in_go

R = TypeVar("R")
_SILENCE = 300.0  # seconds for the next piece of a stream, as of a request's body


async def patient(work: Awaitable[R], seconds: float | None = None) -> R:
    """Raises Unavailable when the client has said, or taken, nothing for so many seconds, without any for long."""
    seconds = seconds or _SILENCE
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise _silent(seconds) from None


@asynccontextmanager
async def both_ways() -> AsyncIterator[Callable[[], None]]:
    """The same of a block in which one direction may be silent while the other is not: to be called for each piece of
    either."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_SILENCE) as limit:
            yield lambda: limit.reschedule(loop.time() + _SILENCE)
    except TimeoutError:
        raise _silent(_SILENCE) from None


def _silent(seconds: float) -> Unavailable:
    return Unavailable(f"nothing has come from the client for {in_go(seconds)}")
