"""Tasks that go on after a response: `settle` awaits them, and an error in one is logged, never lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Background:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start `work`. `name` says in the log what failed."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed: %s", task.get_name(), error, exc_info=error)

    async def settle(self, seconds: float | None = None) -> None:
        """Wait until no task runs, including those that are started meanwhile; failures go to the log, and so does what
        still runs after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while self._tasks:
                    await asyncio.wait(set(self._tasks))
        except TimeoutError:
            log.warning("not completed in time: %s", "; ".join(sorted(task.get_name() for task in self._tasks)))


class Forever(Background):
    """Tasks that end by themselves only when what they watch ends; `cancel` ends them."""

    async def cancel(self, seconds: float | None = None) -> None:
        for task in list(self._tasks):
            task.cancel()
        await self.settle(seconds)
