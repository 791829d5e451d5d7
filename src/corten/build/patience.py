"""How long a client may be silent in the middle of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
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
        raise Unavailable(f"nothing has come from the client for {in_go(seconds)}") from None
