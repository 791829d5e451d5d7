"""One at a time for each key."""

from __future__ import annotations

import asyncio
import gc

from corten.aio.keyed_locks import KeyedLocks


class Caller:
    """A task that takes a lock: `inside` once it has it, `leave` releases it."""

    def __init__(self, locks: KeyedLocks[str], key: str) -> None:
        self.inside, self.leave = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._run(locks, key))

    async def _run(self, locks: KeyedLocks[str], key: str) -> None:
        async with locks.lock(key):
            self.inside.set()
            await self.leave.wait()

    async def end(self) -> None:
        self.leave.set()
        await self.task


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_task_that_comes_while_others_wait_waits_as_well() -> None:
    locks: KeyedLocks[str] = KeyedLocks()
    first, second = Caller(locks, "a"), Caller(locks, "a")
    await first.inside.wait()
    await first.end()
    await second.inside.wait()
    third = Caller(locks, "a")
    await settled()
    assert not third.inside.is_set()
    await second.end()
    await third.inside.wait()
    await third.end()


async def test_keys_do_not_wait_for_one_another_and_are_forgotten() -> None:
    locks: KeyedLocks[str] = KeyedLocks()
    callers = [Caller(locks, "a"), Caller(locks, "b")]
    for caller in callers:
        await caller.inside.wait()
    assert len(locks) == 2
    for caller in callers:
        await caller.end()
    gc.collect()
    assert len(locks) == 0


async def test_a_cancelled_waiter_delays_no_other() -> None:
    locks: KeyedLocks[str] = KeyedLocks()
    first, second, third = (Caller(locks, "a") for _ in range(3))
    await first.inside.wait()
    await settled()
    second.task.cancel()
    await asyncio.wait({second.task})
    assert not third.inside.is_set()
    await first.end()
    await third.inside.wait()
    await third.end()
