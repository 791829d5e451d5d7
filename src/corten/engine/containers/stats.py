"""Docker's statistics of a container, from the runtime's counters, /proc/stat and the interface counters."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.errors import CortenError, Unavailable
from corten.spec.docker import times
from corten.spec.json import Json

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_NO_CPU: Json = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}
_BLKIO = {
    "io_service_bytes_recursive": "ioServiceBytesRecursive",
    "io_serviced_recursive": "ioServicedRecursive",
    "io_queue_recursive": "ioQueueRecursive",
    "io_service_time_recursive": "ioServiceTimeRecursive",
    "io_wait_time_recursive": "ioWaitTimeRecursive",
    "io_merged_recursive": "ioMergedRecursive",
    "io_time_recursive": "ioTimeRecursive",
    "sectors_recursive": "sectorsRecursive",
}


_COMPARED = 0.5  # seconds between the two samples of an answer that is no stream: docker's client waits 2 s for it


async def stats(containers: Containers, container: Container, stream: bool, one_shot: bool) -> AsyncIterator[Json]:
    """One sample a second until the container goes (`stream`), or one that is compared with an earlier one."""
    before: Json | None = None
    if not stream and not one_shot:
        before = await sample(containers, container, None)
        await asyncio.sleep(_COMPARED)
    while not container.gone:
        now = await sample(containers, container, before)
        yield now
        if not stream:
            return
        before = now
        await asyncio.sleep(1)


async def sample(containers: Containers, container: Container, before: Json | None) -> Json:
    """Docker's ContainerStatsResponse. A container that does not run has one with nothing in it."""
    record, task = container.record, container.task
    empty: Json = {"pids_stats": {}, "cpu_stats": _NO_CPU, "memory_stats": {}, "blkio_stats": _blkio({})}
    shown: Json = {"name": "/" + record.name, "id": record.id, "read": times.NEVER, "num_procs": 0, "storage_stats": {}}
    if task is not None:
        try:
            counters = await task.stats()
            empty = _counters(counters)
            shown["read"] = times.rfc3339(times.now())
            of_pod = record.pod is not None and "network" in record.pod.shares
            if (container.endpoints or of_pod) and (counted := await task.interface_counters()):
                shown["networks"] = counted
        except Unavailable:
            raise
        except CortenError:  # it ended while we asked
            pass
    shown["preread"] = before["read"] if before else times.NEVER
    shown["precpu_stats"] = before["cpu_stats"] if before else _NO_CPU
    return shown | empty


def _counters(counters: Json) -> Json:
    memory = counters.get("memory") or {}
    pids = counters.get("pids") or {}
    return {
        "pids_stats": {key: pids[key] for key in ("current", "limit") if pids.get(key)},
        "cpu_stats": _cpu(counters.get("cpu") or {}),
        "memory_stats": _memory(memory),
        "blkio_stats": _blkio(counters.get("blkio") or {}, [] if counters.get("version") == 1 else None),
    }


def _cpu(cpu: Json) -> Json:
    usage, throttling = cpu.get("usage") or {}, cpu.get("throttling") or {}
    shown: Json = {
        "total_usage": usage.get("total", 0),
        "usage_in_kernelmode": usage.get("kernel", 0),
        "usage_in_usermode": usage.get("user", 0),
    }
    if usage.get("percpu"):
        shown["percpu_usage"] = usage["percpu"]
    return {
        "cpu_usage": shown,
        "system_cpu_usage": system_cpu(),
        "online_cpus": os.cpu_count() or 1,
        "throttling_data": {
            "periods": throttling.get("periods", 0),
            "throttled_periods": throttling.get("throttledPeriods", 0),
            "throttled_time": throttling.get("throttledTime", 0),
        },
    }


def _memory(memory: Json) -> Json:
    """`usage` with the caches in it, as Docker has it: its client takes the inactive ones off."""
    usage = memory.get("usage") or {}
    limit = usage.get("limit") or 0
    total = total_memory()
    shown: Json = {"usage": usage.get("usage", 0), "limit": limit if 0 < limit < total else total}
    if usage.get("max"):
        shown["max_usage"] = usage["max"]
    if usage.get("failcnt"):
        shown["failcnt"] = usage["failcnt"]
    shown["stats"] = memory.get("raw") or {}
    return shown


def _blkio(blkio: Json, nothing: list[Json] | None = None) -> Json:
    """`nothing` is what Docker says where there was no block I/O: null with control groups v2."""
    return {docker: blkio.get(ours) or nothing for docker, ours in _BLKIO.items()}


def system_cpu() -> int:
    """CPU time of the whole machine since boot in nanoseconds: /proc/stat's first line without guests."""
    with open("/proc/stat", "rb") as file:
        fields = file.readline().split()[1:8]
    return sum(map(int, fields)) * _TICK


def total_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
