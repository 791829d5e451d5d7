"""The live handle of one machine: its record, its lock, and what is held only while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from corten.errors import NotFound
from corten.machines.migration import Incoming, Outgoing
from corten.machines.records import Record
from corten.network.endpoint import Endpoint
from corten.tasks.contract import Exit
from corten.tasks.machine_tasks import MachineTask

LOG = "console.log"


class Machine:
    """
    lock        held while the machine changes; reading never takes it
    task        the present run, None between runs
    release     gives back what the present run acquired, in reverse order
    waiters     of those who wait for the end of a run
    cut         networks of the present run whose interface is gone, and that are not tried again
    incoming    while it comes from another daemon; `outgoing` while it goes to one (see `migration`)
    gone        it was removed
    """

    def __init__(self, record: Record, directory: Path) -> None:
        self.record, self.directory = record, directory
        self.lock = asyncio.Lock()
        self.task: MachineTask | None = None
        self.release: AsyncExitStack | None = None
        self.endpoints: dict[str, Endpoint] = {}
        self.cut: set[str] = set()
        self.waiters: set[asyncio.Future[Exit]] = set()
        self.delay = 0.5  # seconds, of the last restart by its policy
        self.incoming: Incoming | None = None
        self.outgoing: Outgoing | None = None
        self.gone = False
        self._readers: set[asyncio.Task[object]] = set()

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """The lock, for a change. NotFound when it was removed while that was waited for: what would be held for it, or
        written of it, would stay."""
        async with self.lock:
            if self.gone:
                raise NotFound(f"No such machine: {self.name}")
            yield

    @contextmanager
    def reading(self, task: asyncio.Task[Any]) -> Iterator[None]:
        """A task that holds `lock`, or waits for it, for as long as clients take to read."""
        self._readers.add(task)
        try:
            yield
        finally:
            self._readers.discard(task)

    def end_readers(self) -> None:
        """They hold no removal up."""
        for task in self._readers:
            task.cancel()

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def log_path(self) -> Path:
        return self.directory / LOG

    def wake(self, exit: Exit) -> None:
        """It has ended."""
        waiters, self.waiters = self.waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(exit)

    def ended(self) -> asyncio.Future[Exit]:
        """Resolved at the end of the present run, at once when there is none."""
        future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        state = self.record.state
        if not state.running or self.gone:
            future.set_result(Exit(state.exit_code, state.finished_at / 1e9, error=state.error))
            return future
        self.waiters.add(future)
        future.add_done_callback(self.waiters.discard)
        return future

    def attributes(self, **more: str) -> dict[str, str]:
        """Of its events."""
        return {**self.record.labels, "name": self.record.name, **more}
