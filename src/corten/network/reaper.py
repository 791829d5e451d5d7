"""Devices of detached endpoints: removed by the kernel or by us, and what becomes free then.

When a container ends, the kernel takes its network namespace apart by itself, with the pair in it, for many containers
in one sweep. Deleting the pair as well would cost the kernel a second grace period under its global lock, which the
next start would wait for. So a device is only watched; one that is still there after a while (its namespace lives on)
is deleted, in a thread. Its addresses are not given again before: two devices with one address would both answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from corten.kernel.netlink import Socket
from corten.network.links import HostLinks, delete

_LOOK_EVERY = 0.05  # seconds
_PATIENCE = 0.5  # seconds that the kernel gets; under load its own clean-up took up to 0.2


@dataclass(frozen=True, slots=True)
class Detached:
    """`release` is called once the device is gone."""

    name: str
    index: int
    since: float
    release: Callable[[], Awaitable[None]]


class Reaper:
    def __init__(self, links: HostLinks) -> None:
        self._links = links
        self._detached: list[Detached] = []
        self._task: asyncio.Task[None] | None = None
        self._releasing: set[asyncio.Future[None]] = set()
        self._route = Socket()  # for the thread that deletes; one at a time
        self._deleting = asyncio.Lock()

    def close(self) -> None:
        self._route.close()

    def __len__(self) -> int:
        return len(self._detached)

    def add(self, name: str, index: int, release: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        self._detached.append(Detached(name, index, loop.time(), release))
        if self._task is None:
            self._task = loop.create_task(self._run())

    async def settle(self) -> None:
        """Everything that is pending is gone when this returns."""
        while self._detached:
            await self._delete(list(self._detached))
        task, self._task = self._task, None  # what is added from now on has another one
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*self._releasing)

    async def finish(self, name: str) -> None:
        """This device is gone when this returns."""
        await self._delete([d for d in self._detached if d.name == name])

    async def _run(self) -> None:
        while self._detached:
            await asyncio.sleep(_LOOK_EVERY)
            self._collect()
            now = asyncio.get_running_loop().time()
            await self._delete([d for d in self._detached if now - d.since > _PATIENCE])
        self._task = None

    def _collect(self) -> None:
        for one in list(self._detached):
            if not self._links.alive(one.index, one.name):
                self._gone(one)

    async def _delete(self, late: list[Detached]) -> None:
        if not late:
            return
        async with self._deleting:
            indexes = [d.index for d in late if self._links.alive(d.index, d.name)]
            await asyncio.to_thread(delete, self._route, indexes)
        for one in late:
            self._gone(one)

    def _gone(self, one: Detached) -> None:
        if one in self._detached:
            self._detached.remove(one)
            releasing = asyncio.ensure_future(one.release())
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)
