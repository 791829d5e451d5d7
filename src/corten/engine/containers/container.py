"""The live handle of one container: its record, its lock, and what is held only while it runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Literal

from corten.engine.containers.early import EarlyStreams
from corten.engine.containers.probe import Probe
from corten.engine.containers.records import Record, Status
from corten.engine.containers.restarts import Restart
from corten.errors import Conflict
from corten.network.endpoint import Endpoint
from corten.tasks.contract import Exit, Task

Condition = Literal["not-running", "next-exit", "removed"]
_RETURN = 30.0  # seconds


class Container:
    """Everything that the engine has of one container in this run of the daemon.

    lock           held while the container changes; reading never takes it
    lent           what holds the lock for as long as a client or a guest likes (see `lend`)
    task           the present run, None between runs
    release        gives back what the present run acquired, in reverse order
    started        CLOCK_MONOTONIC, of the present run
    returning      clients' restarts under way: --rm does not remove it at the end of this run
    restart        the restart that its keeper waits for (see `lifecycle`), None when there is none
    restart_delay  seconds that the last start by its policy was put off for
    attaching      attaches under way: the client may already have its answer, and ask for the start
    early          streams of clients that attached before the start
    teardown       what goes on behind the answer that a run has ended; the next start waits for it
    endpoints      connected networks, by name
    held           connections of clients that wait for the end of a run, by key (see `held`)
    execs          ids of the execs that were created in it
    rewriting      the newest texts of its files that are being written while it runs
    standing       what it stands still for though its record says that it runs (see `pause.still`)
    waiting        what its start waits for, where that takes long; "" for nothing
    gone           it was removed
    """

    __slots__ = (
        "_restart_ended",
        "attaching",
        "bundle",
        "early",
        "endpoints",
        "execs",
        "gone",
        "health",
        "held",
        "lent",
        "lock",
        "record",
        "release",
        "restart",
        "restart_delay",
        "returning",
        "rewriting",
        "standing",
        "started",
        "task",
        "teardown",
        "waiters",
        "waiting",
    )

    def __init__(self, record: Record, bundle: Path) -> None:
        self.record = record
        self.bundle = bundle
        self.lock = asyncio.Lock()
        self.lent: set[asyncio.Timeout] = set()
        self.task: Task | None = None
        self.release: AsyncExitStack | None = None
        self.attaching: set[asyncio.Future[None]] = set()
        self.early = EarlyStreams()
        self.teardown: set[asyncio.Task[None]] = set()
        self.endpoints: dict[str, Endpoint] = {}
        self.execs: set[str] = set()
        self.held: dict[str, Callable[[], int]] = {}
        self.rewriting: Mapping[str, bytes] | None = None
        self.standing: set[object] = set()
        self.waiters: dict[Condition, set[asyncio.Future[Exit]]] = {"not-running": set(), "next-exit": set()}
        self.waiters["removed"] = set()
        self.restart: Restart | None = None
        self.restart_delay = 0.0
        self._restart_ended = asyncio.Event()
        self.health: Probe | None = None
        self.started = 0.0
        self.returning: set[asyncio.Future[None]] = set()
        self.waiting = ""
        self.gone = False

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def status(self) -> Status:
        """Docker's word for what it does now. Its record's, but for a standstill: that is never stored."""
        status = self.record.state.status
        return "paused" if status == "running" and self.standing else status

    @property
    def ready(self) -> bool:
        """It runs, and is healthy where it has a check: time to send it connections."""
        if self.status != "running":
            return False
        return self.health is None or self.health.status == "healthy" or self.health.taken_for_healthy

    @property
    def log_path(self) -> Path | None:
        """None when the container keeps no log, or one that is Kubernetes' (`Membership.log`)."""
        kind = self.record.host_config.log_config.type
        return self.bundle / f"{self.id}-json.log" if kind != "none" else None

    @property
    def kubernetes_log(self) -> Path | None:
        """None for a container that is in no pod, or has no log there."""
        member = self.record.pod
        return Path(member.log) if member is not None and member.log else None

    def attributes(self, **more: str) -> dict[str, str]:
        """Docker's attributes of a container's events."""
        record = self.record
        return {**record.labels, **more, "image": record.image, "name": record.name}

    def run(self, task: Task) -> None:
        """`task` is its present run from now on."""
        self.task, self.started = task, time.monotonic()
        self.standing.clear()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[None]:
        """Around work that waits for another process or client while the lock is held: `take_back` ends it, with
        Conflict."""
        try:
            async with asyncio.timeout(None) as limit:
                self.lent.add(limit)
                try:
                    yield
                finally:
                    self.lent.discard(limit)
        except TimeoutError:
            if not limit.expired():
                raise
            raise Conflict(f"container {self.id} is being removed") from None

    def take_back(self) -> None:
        for limit in self.lent:
            limit.reschedule(asyncio.get_running_loop().time())

    # ---------------------------------------------------------------------------------------------------- restarts

    def put_off(self, restart: Restart) -> None:
        """It is to be started after a while, unless `end_restart` comes first."""
        self.restart, self.restart_delay, self._restart_ended = restart, restart.delay, asyncio.Event()

    def end_restart(self) -> None:
        """What was put off is begun, or not to be any more."""
        self.restart = None
        self._restart_ended.set()

    async def restart_due(self, restart: Restart) -> None:
        """Wait for the time of `restart`, or until it is no longer what this container waits for."""
        if self.restart is restart:
            with suppress(TimeoutError):
                async with asyncio.timeout(restart.delay):
                    await self._restart_ended.wait()

    async def settled(self) -> None:
        """Wait until no start of it is put off or under way."""
        while (restart := self.restart) is not None:
            await self.restart_due(restart)
            await asyncio.sleep(0)  # its keeper comes next
        async with self.lock:  # held until it has started, or could not
            pass

    @contextmanager
    def restart_by_a_client(self) -> Iterator[None]:
        """From before its stop until it has started, or could not."""
        returning = asyncio.get_running_loop().create_future()
        self.returning.add(returning)
        try:
            yield
        finally:
            self.returning.discard(returning)
            returning.set_result(None)

    async def returned(self) -> None:
        """Wait for the restarts by clients that are under way, but not for ever: a stop may take any time."""
        if self.returning:
            await asyncio.wait(set(self.returning), timeout=_RETURN)

    async def restart_begun(self) -> None:
        """Wait for a restart whose time has come: it has then started, or could not."""
        if self.record.state.status == "restarting" and self.restart is None:
            async with self.lock:
                pass

    # ------------------------------------------------------------------------------------------- waiters and streams

    def wake(self, exit: Exit, *conditions: Condition) -> None:
        """Answer those that wait for one of `conditions`."""
        for condition in conditions:
            for future in self.waiters[condition]:
                if not future.done():
                    future.set_result(exit)
            self.waiters[condition].clear()

    async def torn_down(self) -> None:
        """Wait for what is left of the teardown of the last run."""
        while self.teardown:
            await asyncio.wait(set(self.teardown))

    @contextmanager
    def attach_under_way(self) -> Iterator[EarlyStreams]:
        """From before the client has its answer until its stream is kept or served: a start waits for that.

        Where to keep it should there be no task by then, which is those for the run that the client asked for.
        """
        attaching = asyncio.get_running_loop().create_future()
        self.attaching.add(attaching)
        try:
            yield self.early
        finally:
            self.attaching.discard(attaching)
            attaching.set_result(None)

    async def attached(self) -> None:
        """Wait for attaches under way, or a quick program's output is over before they get any of it."""
        if self.attaching:
            await asyncio.wait(set(self.attaching))

    def close_early(self) -> None:
        """Of the run that has ended, or does not come about."""
        self.early.close()
        self.early = EarlyStreams()
