"""The live handle of one container: its record, its lock, and what is held only while it runs."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from corten.engine.containers.records import Record
from corten.tasks.contract import Exit, Stream, Task

if TYPE_CHECKING:
    from corten.engine.containers.health import Probe
    from corten.engine.peers import Endpoint

Condition = Literal["not-running", "next-exit", "removed"]


class Container:
    """Everything that the engine knows of one container in this run of the daemon.

    lock       held while the container changes; reading never takes it
    task       the present run, None between runs
    release    gives back what the present run acquired, in reverse order
    arriving   attaches under way: the client may already know of it, and ask for the start
    pending    clients that attached before the start
    unseen     teardown that goes on behind the answer; the next start waits for it
    endpoints  connected networks, by name
    execs      ids of the execs that were created in it
    """

    __slots__ = (
        "arriving",
        "backoff",
        "bundle",
        "endpoints",
        "execs",
        "gone",
        "health",
        "lock",
        "pending",
        "record",
        "release",
        "restarter",
        "started",
        "task",
        "unseen",
        "waiters",
    )

    def __init__(self, record: Record, bundle: Path) -> None:
        self.record = record
        self.bundle = bundle
        self.lock = asyncio.Lock()
        self.task: Task | None = None
        self.release: AsyncExitStack | None = None
        self.arriving: set[asyncio.Future[None]] = set()
        self.pending: list[Stream] = []
        self.unseen: set[asyncio.Task[None]] = set()
        self.endpoints: dict[str, Endpoint] = {}
        self.execs: set[str] = set()
        self.waiters: dict[Condition, set[asyncio.Future[Exit]]] = {"not-running": set(), "next-exit": set()}
        self.waiters["removed"] = set()
        self.restarter: asyncio.Task[None] | None = None
        self.health: Probe | None = None
        self.started = 0.0  # CLOCK_MONOTONIC, of the present run
        self.backoff = 0.0  # seconds before the next automatic restart
        self.gone = False

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def log_path(self) -> Path | None:
        """None when the container keeps no log."""
        kind = self.record.host_config.log_config.type
        return self.bundle / f"{self.id}-json.log" if kind != "none" else None

    def attributes(self, **more: str) -> dict[str, str]:
        """Docker's attributes of a container's events."""
        record = self.record
        return {**record.labels, **more, "image": record.image, "name": record.name}

    def began(self) -> None:
        self.started = time.monotonic()

    def wake(self, exit: Exit, *conditions: Condition) -> None:
        """Tell those who wait for one of `conditions`."""
        for condition in conditions:
            for future in self.waiters[condition]:
                if not future.done():
                    future.set_result(exit)
            self.waiters[condition].clear()

    async def settled(self) -> None:
        """Wait for the unseen teardown of the last run."""
        while self.unseen:
            await asyncio.wait(set(self.unseen))

    @contextmanager
    def arrival(self) -> Iterator[None]:
        """An attach from before its client is told until its stream is kept or served: a start waits for that."""
        arriving = asyncio.get_running_loop().create_future()
        self.arriving.add(arriving)
        try:
            yield
        finally:
            self.arriving.discard(arriving)
            arriving.set_result(None)

    async def arrived(self) -> None:
        """Wait for attaches under way, or a quick program's output is over before they get any of it."""
        while self.arriving:
            await asyncio.wait(set(self.arriving))

    def pend(self, stream: Stream) -> None:
        """Keep a client until the start; those that hung up meanwhile are let go."""
        self.pending = [old for old in self.pending if not _hung_up(old)]
        self.pending.append(stream)

    def close_pending(self) -> None:
        """Let go of the clients that waited for a start."""
        for stream in self.take_pending():
            os.close(stream.fd)

    def take_pending(self) -> list[Stream]:
        taken, self.pending = self.pending, []
        return taken


def _hung_up(stream: Stream) -> bool:
    """True, and the descriptor is closed, when the other side is gone altogether; a half-closed one still reads."""
    poll = select.poll()
    poll.register(stream.fd, 0)
    if any(events & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0)):
        os.close(stream.fd)
        return True
    return False
