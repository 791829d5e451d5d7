"""A job: what Control.Solve, Control.Status and the calls of LLBBridge of one build have in common, by its reference.
Those come in any order, on any connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from corten.build.contract import ClassicText, Event, Log
from corten.build.history.history import Recording
from corten.build.result import Built
from corten.buildkit.arrivals import Arrivals
from corten.errors import Invalid
from corten.spec.protobuf.control import RpcStatus, SolveRequest, VertexWarning
from corten.spec.protobuf.gateway import Result, WarnRequest

_WARNINGS = 1000
_WARNING = 64 << 10  # bytes of one
_LOGS = 64 << 20  # bytes of memory for output that is kept for a Status,
_OTHERS = 64 << 20  # and for all else
_EVENT = 200  # bytes of memory of one, beside its output


@dataclass(slots=True)
class Job:
    """`returned` is what the client has made of it: a result, or an error. `recording` is its place in the history.
    `ending`: what of it is under way is being ended."""

    request: SolveRequest
    returned: asyncio.Future[Result | RpcStatus]
    results: dict[str, Built] = field(default_factory=dict)  # by the id that the client knows it by
    recording: Recording | None = None
    ending: bool = False
    ended: bool = False
    building: set[asyncio.Future[Any]] = field(default_factory=set)
    fetched: list[str] = field(default_factory=list)  # results of definitions,
    held: AsyncExitStack = field(default_factory=AsyncExitStack)  # and what they have
    _events: list[Event | VertexWarning] = field(default_factory=list)
    _logs: int = 0
    _others: int = 0
    _warnings: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def trace(self, event: Event) -> None:
        if self.recording is not None:
            self.recording.trace(event)
        else:
            self.keep(event)

    def keep(self, event: Event) -> None:
        """For a Status."""
        if isinstance(event, ClassicText):
            return
        if isinstance(event, Log):
            if self._logs > _LOGS:
                return
            self._logs += _EVENT + len(event.data)
            if self._logs > _LOGS:
                event = Log(event.vertex, 2, b"[output clipped: there is more than is kept]\n")
        else:
            self._others += _EVENT
            if self._others > _OTHERS:
                return
        self._events.append(event)
        self._news.set()

    def warn(self, given: WarnRequest, size: int) -> None:
        """What a client has to say of a vertex, in so many bytes. Raises Invalid when it is too much."""
        self._warnings += 1
        if self._warnings > _WARNINGS or size > _WARNING:
            raise Invalid(f"more than {_WARNINGS} warnings of a build, or one of more than {_WARNING} bytes")
        found = VertexWarning(given.digest, given.level, given.short, given.detail, given.url, given.ranges)
        self._events.append(found)
        self._news.set()

    def end(self) -> None:
        self.ended = True
        self._news.set()

    async def events(self) -> AsyncIterator[list[Event | VertexWarning]]:
        """All, from the first; as they come, until the job has ended."""
        seen = 0
        while True:
            new = self._events[seen:]
            seen += len(new)
            if new:
                yield new
            elif self.ended:
                return
            else:
                self._news.clear()
                await self._news.wait()


class Jobs:
    def __init__(self) -> None:
        self._jobs: Arrivals[Job] = Arrivals("job")

    def begin(self, request: SolveRequest) -> Job:
        """Raises Conflict, Unavailable."""
        job = Job(request, asyncio.get_running_loop().create_future())
        self._jobs.add(request.ref, job)
        return job

    def end(self, job: Job) -> None:
        job.end()
        self._jobs.remove(job.request.ref)

    async def find(self, ref: str) -> Job:
        """Wait for it. Raises Unavailable."""
        return await self._jobs.find(ref)
