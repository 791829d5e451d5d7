"""A machine's memory and the state of its devices: written to a file and read from one, or sent to another machine."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from corten.aio.threads import to_disk_thread
from corten.errors import Exhausted, Failed
from corten.kernel.full_disk import writing
from corten.kernel.sync import sync_directory
from corten.machines import plan
from corten.machines.machine import Machine
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask
from corten.units.durations import in_go

_LOOK = 0.5  # seconds between two looks at how far it is, where nothing happens
_SOON = 0.002
_LIMITS = (60, 120, 240, 480)  # milliseconds that the rest of a running machine's memory may take
_PATIENCE = 20.0  # seconds with one of them
_FAST = 1 << 40  # bytes a second: no limit
_MOST = 3600.0  # seconds
_STALL = 60.0  # seconds in which a client takes nothing of it


def path(machine: Machine) -> Path:
    return machine.directory / plan.STATE


def restoring(machine: Machine) -> Callable[[MachineTask], Awaitable[None]]:
    """For `run.start_locked`: go on from the file."""

    async def restore(task: MachineTask) -> None:
        try:
            fd = os.open(path(machine), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Failed(f"machine {machine.name} was saved, and its file {path(machine)} is lost") from None
        try:
            await receive(task, fd)
        finally:
            os.close(fd)

    return restore


def forget(machine: Machine) -> None:
    """It goes on: the file is of no use any more."""
    path(machine).unlink(missing_ok=True)


def sweep(machine: Machine) -> None:
    """At the daemon's start: what a save has left that was killed, as much as the machine has memory."""
    _fresh(path(machine)).unlink(missing_ok=True)
    if not machine.record.saved:
        forget(machine)


def _fresh(target: Path) -> Path:
    return target.with_name(f".{target.name}.new")


async def write(machine: Machine, task: MachineTask) -> None:
    """Of a machine that stands still, to its file: whole or not at all. Exhausted for a full disk."""
    await write_to(path(machine), task)


async def write_to(target: Path, task: MachineTask) -> None:
    """The same, to this one."""
    fresh = _fresh(target)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        await send(task, fd)
        with writing(fresh):
            await to_disk_thread(os.fsync, fd)  # as much as a machine has memory
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    fresh.rename(target)
    sync_directory(target.parent)


async def send(
    task: MachineTask, fd: int, standing: Callable[[], Awaitable[None]] | None = None, emulated: bool = False
) -> Json:
    """To a file, or to a socket whose other end reads it in. Behind it the machine stands still; when it fails it goes
    on as before. `standing` is done when it stands still and before the rest of it is sent. What
    QEMU says of it (MigrationInfo), and "before", milliseconds that an `emulated` one stood still at the beginning.

    An emulating QEMU (seen with 7.2; a Debian's kernel panicked behind it) misses what its guest writes after it has
    looked which pages are written to, by what its processors have kept of those pages. They keep nothing of the time
    before the first look where they stand still for that. So there is one such look, and no second one while the
    machine runs: what was sent and has changed since is sent when it stands still for good.
    """
    name = f"state{secrets.token_hex(4)}"
    await _say_events(task, standing is not None)
    limit = 0 if emulated else _LIMITS[0]  # 0: no look until all was sent once
    await task.ask("migrate-set-parameters", max_bandwidth=_FAST, downtime_limit=limit)
    await task.ask("getfd", [fd], fdname=name)
    begin = time.monotonic()
    if emulated:
        await task.ask("stop")
    await task.ask("migrate", uri=f"fd:{name}")
    try:
        what = "the machine's state could not be written"
        if emulated:
            await _begun(task, what)
        before = round((time.monotonic() - begin) * 1000) if emulated else 0
        limits = () if emulated else _LIMITS
        done = await _completed(task, what, standing, limits)
        return done | {"before": before}
    except asyncio.CancelledError:
        await task.ask("migrate_cancel")
        raise


async def receive(task: MachineTask, fd: int, most: float = _MOST) -> None:
    """By a machine that was begun as `incoming`: it stands still behind it. TimeoutError behind `most` seconds."""
    name = f"state{secrets.token_hex(4)}"
    await _say_events(task, False)
    await task.ask("getfd", [fd], fdname=name)
    await task.ask("migrate-incoming", uri=f"fd:{name}")
    await _completed(task, "the machine's state cannot be read in", most=most)


async def finalized(task: MachineTask) -> None:
    """Wait for what QEMU does behind the end that it reports: with `finish-migrate` as RunState it refuses to go on.
    Returns at once where nothing was sent."""
    while (await task.ask("query-status")).get("status") == "finish-migrate":
        await asyncio.sleep(_SOON)


async def _say_events(task: MachineTask, pauses: bool) -> None:
    """`pauses`: it stops once more before the last of its state, `pre-switchover` (docs of QEMU's MigrationStatus). One
    whose guest writes faster than memory is sent is slowed down."""
    wanted = {"events": True, "pause-before-switchover": pauses, "auto-converge": pauses}
    capabilities = [{"capability": name, "state": state} for name, state in wanted.items()]
    await task.ask("migrate-set-capabilities", (), capabilities=capabilities)


class _Pace:
    """Whether what is sent goes on: the machine may stand still meanwhile."""

    def __init__(self) -> None:
        self._sent, self._since = -1, time.monotonic()

    def stands(self, state: Json) -> bool:
        """As QEMU says it now (MigrationInfo), the same for `_STALL` seconds."""
        sent, now = (state.get("ram") or {}).get("transferred", -1), time.monotonic()
        if sent != self._sent:
            self._sent, self._since = sent, now
        return now - self._since > _STALL


async def _begun(task: MachineTask, what: str) -> None:
    """QEMU has looked, and the machine runs again; where all was sent already it does not."""
    try:
        async with asyncio.timeout(_STALL):
            while (await task.ask("query-migrate")).get("status") == "setup":
                await asyncio.sleep(_SOON)
    except TimeoutError:
        await task.ask("migrate_cancel")
        raise Failed(f"{what}: nothing of it is taken for {in_go(_STALL)}") from None
    with suppress(Failed):
        await task.ask("cont")


async def _completed(
    task: MachineTask,
    what: str,
    standing: Callable[[], Awaitable[None]] | None = None,
    patience: Sequence[int] = (),
    most: float = _MOST,
) -> Json:
    client, pace = standing is not None, _Pace()
    limits = [(time.monotonic() + _PATIENCE * n, limit) for n, limit in enumerate(patience) if n]
    async with asyncio.timeout(most):
        while True:
            seen = task.events
            state: Json = await task.ask("query-migrate")
            match state.get("status"):
                case "completed":
                    await finalized(task)
                    return state
                case "failed" | "cancelled":
                    await finalized(task)
                    reason = str(state.get("error-desc") or state["status"])
                    raise Exhausted(f"{what}: {reason}") if "No space" in reason else Failed(f"{what}: {reason}")
                case "pre-switchover" if standing is not None:
                    await standing()
                    standing, pace = None, _Pace()
                    await task.ask("migrate-continue", (), state="pre-switchover")
                    continue
                case "active" if standing is not None and limits and time.monotonic() > limits[0][0]:
                    await task.ask("migrate-set-parameters", downtime_limit=limits.pop(0)[1])
            if client and pace.stands(state):
                await task.ask("migrate_cancel")
                raise Failed(f"{what}: nothing of it is taken for {in_go(_STALL)}")
            await task.happens(seen, _LOOK)
