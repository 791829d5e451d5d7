"""Builds that are asked for while their job ends."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from corten.buildkit.bridge import Bridge
from corten.buildkit.jobs import Jobs
from corten.buildkit.sessions import Sessions
from corten.errors import Unavailable
from corten.spec.protobuf.control import SolveRequest


async def test_a_build_that_comes_while_its_job_ends() -> None:
    """What it made would be held for ever."""
    jobs = Jobs()
    bridge = Bridge(cast(Any, _Builds()), Sessions(), cast(Any, None), jobs)
    job, may = jobs.begin(SolveRequest(ref="x")), asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may.wait()

    job.building.add(asyncio.ensure_future(slow()))
    await asyncio.sleep(0)
    ending = asyncio.ensure_future(bridge.end(job))
    await asyncio.sleep(0)
    assert await jobs.find("x") is job
    with pytest.raises(Unavailable, match="has ended"):
        await bridge.build(job, "dockerfile.v0", {}, {})
    may.set()
    await ending


class _Builds:
    looks = None
