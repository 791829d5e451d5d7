"""One at a time for each key."""

from __future__ import annotations

import asyncio
import gc

from corten.aio.turns import Turns


class Caller:
    """One who takes a turn: `inside` once it has it, `leave` ends it."""

    def __init__(self, turns: Turns[str], key: str) -> None:
        self.inside, self.leave = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._run(turns, key))

    async def _run(self, turns: Turns[str], key: str) -> None:
        async with turns.of(key):
            self.inside.set()
            await self.leave.wait()

    async def end(self) -> None:
        self.leave.set()
        await self.task


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_comes_while_others_wait_waits_as_well() -> None:
    turns: Turns[str] = Turns()
    first, second = Caller(turns, "a"), Caller(turns, "a")
    await first.inside.wait()
    await first.end()
    await second.inside.wait()
    third = Caller(turns, "a")
    await settled()
    assert not third.inside.is_set()
    await second.end()
    await third.inside.wait()
    await third.end()


async def test_keys_do_not_wait_for_one_another_and_are_forgotten() -> None:
    turns: Turns[str] = Turns()
    callers = [Caller(turns, "a"), Caller(turns, "b")]
    for caller in callers:
        await caller.inside.wait()
    assert len(turns) == 2
    for caller in callers:
        await caller.end()
    gc.collect()
    assert len(turns) == 0


async def test_one_who_gives_up_waiting_takes_nobody_s_turn() -> None:
    turns: Turns[str] = Turns()
    first, second, third = (Caller(turns, "a") for _ in range(3))
    await first.inside.wait()
    await settled()
    second.task.cancel()
    await asyncio.wait({second.task})
    assert not third.inside.is_set()
    await first.end()
    await third.inside.wait()
    await third.end()
