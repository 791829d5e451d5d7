"""How far QEMU is with what takes its time: mirrors, backups, snapshots, memory on its way."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from corten.errors import Conflict, CortenError, Exhausted, Failed
from corten.machines.machine import Machine
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask

_LOOK = 0.5  # seconds between two looks, where nothing happens
_MOST = 3600.0  # seconds for one
_MOVING = ("setup", "active", "pre-switchover", "device")


async def current(machine: Machine) -> list[Json]:
    """{"Id", "Type", "Current", "Total"} of each; bytes, or units of QEMU's own. Conflict when nothing of it runs."""
    task = machine.task
    if task is None:
        raise Conflict(f"machine {machine.name} is not running")
    found: list[Json] = [
        {
            "Id": str(job["id"]),
            "Type": str(job["type"]),
            "Current": int(job["current-progress"]),
            "Total": int(job["total-progress"]),
        }
        for job in await task.ask("query-jobs")
    ]
    moved = await task.ask("query-migrate")
    if moved.get("status") in _MOVING and (memory := moved.get("ram")):
        done, total = int(memory["total"]) - int(memory["remaining"]), int(memory["total"])
        found.append({"Id": "memory", "Type": "memory", "Current": max(done, 0), "Total": total})
    return found


async def finished(task: MachineTask, job: str, what: str) -> None:
    """It has come to its end. Failed, and Exhausted for a full disk, with QEMU's words."""
    await _until(task, job, what, "concluded")
    await task.ask("job-dismiss", id=job)


async def ready(task: MachineTask, job: str, what: str) -> None:
    """It has done what there was, and follows what is written. Errors as of `finished`, and then it is gone."""
    await _until(task, job, what, "ready")


async def _until(task: MachineTask, job: str, what: str, status: str) -> None:
    async with asyncio.timeout(_MOST):
        while True:
            seen = task.events
            state = next((each for each in await task.ask("query-jobs") if each.get("id") == job), None)
            if state is None:
                raise Failed(f"{what}: the job is gone")
            if state.get("status") == "concluded" and (error := state.get("error")):
                await task.ask("job-dismiss", id=job)
                raise (Exhausted if "No space" in error else Failed)(f"{what}: {error}")
            if state.get("status") == status:
                return
            await task.happens(seen, _LOOK)


async def end_all(task: MachineTask, but: str) -> None:
    """Those that an earlier daemon has begun, and that nothing waits for any more; `but` those of such a name."""
    for each in await task.ask("query-jobs"):
        job = str(each["id"])
        if job.startswith(but):
            continue
        with suppress(CortenError, TimeoutError):
            if each.get("status") != "concluded":
                await task.ask("job-cancel", id=job)
            await _until(task, job, job, "concluded")
        with suppress(CortenError):
            await task.ask("job-dismiss", id=job)
