"""A vertex around work that is no step: its start, its end, and the error that ended it; and how far work is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

from corten.build.contract import Status, Trace, Vertex
from corten.errors import CortenError

_EVERY = 0.1  # seconds


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


class Progress:
    """Bytes that have come, said now and then: they come in pieces as small as their sender likes."""

    def __init__(self, trace: Trace, what: str, vertex: str) -> None:
        self._trace = trace
        self._status = Status(what, vertex, started=time.time())
        self._next = 0.0
        self._count = -1

    def __call__(self, count: int) -> None:
        self._count = count
        if (now := time.monotonic()) >= self._next:
            self._next = now + _EVERY
            self._say()

    def end(self) -> None:
        """The last number, if there was one."""
        if self._count >= 0:
            self._say()

    def _say(self) -> None:
        self._trace(replace(self._status, current=self._count))


@dataclass(frozen=True, slots=True)
class Row:
    """A vertex by its digest, and where its events go."""

    digest: str
    trace: Trace

    def status(self, text: str) -> AbstractContextManager[None]:
        return status(self.trace, text, self.digest)
