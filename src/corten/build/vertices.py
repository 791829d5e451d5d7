"""A vertex around work that is no step: its start, its end, and the error that ended it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

from corten.build.contract import Status, Trace, Vertex
from corten.errors import CortenError


@asynccontextmanager
async def vertex(trace: Trace, digest: str, name: str) -> AsyncIterator[Vertex]:
    row = Vertex(digest, name, started=time.time())
    trace(row)
    try:
        yield row
    except asyncio.CancelledError:
        trace(replace(row, completed=time.time(), error="context canceled"))
        raise
    except (CortenError, OSError) as error:
        trace(replace(row, completed=time.time(), error=str(error)))
        raise
    trace(replace(row, completed=time.time()))


@contextmanager
def status(trace: Trace, text: str, vertex: str) -> Iterator[None]:
    """A row below a vertex, which is complete when the block has ended without an error."""
    row = Status(text, vertex, started=time.time())
    trace(row)
    yield
    trace(replace(row, completed=time.time()))
