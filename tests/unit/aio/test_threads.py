"""Work that takes long keeps no other kind of work waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from corten.aio.threads import run_uncancelled, to_disk_thread, to_removal_thread, to_walk_thread

KINDS: dict[str, Callable[..., Awaitable[Any]]] = {
    "walk": to_walk_thread,
    "removal": to_removal_thread,
    "disk": to_disk_thread,
    "default": asyncio.to_thread,
}


@pytest.mark.parametrize("full", ["walk", "removal", "disk"])
async def test_a_kind_that_is_busy_keeps_no_other_waiting(full: str) -> None:
    done = threading.Event()
    kind = KINDS[full]
    busy = [asyncio.ensure_future(kind(done.wait, 20)) for _ in range(50)]
    try:
        for name, other in KINDS.items():
            if name != full:
                assert await asyncio.wait_for(other(lambda: "done"), 60) == "done"
    finally:
        done.set()
    assert all(await asyncio.gather(*busy))


async def test_what_is_made_for_a_caller_that_is_cancelled_again_and_again() -> None:
    may, undone = threading.Event(), list[str]()

    def work() -> str:
        may.wait()
        return "made"

    waiting = asyncio.ensure_future(run_uncancelled(work, undone.append))
    await asyncio.sleep(0)
    for _ in range(3):
        waiting.cancel()
        await asyncio.sleep(0)
    may.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert undone == ["made"]
