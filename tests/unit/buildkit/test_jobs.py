"""What is kept of a build's events for those that ask for them."""

from __future__ import annotations

import asyncio

import pytest

from corten.build.contract import Log, Vertex
from corten.buildkit import jobs
from corten.buildkit.jobs import Job
from corten.spec.protobuf.control import SolveRequest


async def test_output_in_small_pieces_counts_with_what_each_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that writes line by line, a byte each; vertices are kept behind it, and not without end either."""
    monkeypatch.setattr(jobs, "_LOGS", 100_000)
    monkeypatch.setattr(jobs, "_OTHERS", 100_000)
    job = Job(SolveRequest(ref="r"), asyncio.get_running_loop().create_future())
    for _ in range(5000):
        job.trace(Log("sha256:x", 1, b"\n"))
    for number in range(5000):
        job.trace(Vertex(f"sha256:{number}", "name"))
    job.end()
    (events,) = [events async for events in job.events()]
    logs = [event for event in events if isinstance(event, Log)]
    assert 400 < len(logs) < 600 and b"output clipped" in logs[-1].data
    assert len(events) - len(logs) == 500 and isinstance(events[-1], Vertex)
