"""`stats` in the words of Docker's GET /containers/ID/stats."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_UNLIMITED = 0xFFFFFFFFFFFFFFFF
_BLKIO = (
    ("io_service_bytes_recursive", "ioServiceBytesRecursive"),
    ("io_serviced_recursive", "ioServicedRecursive"),
    ("io_queue_recursive", "ioQueueRecursive"),
    ("io_service_time_recursive", "ioServiceTimeRecursive"),
    ("io_wait_time_recursive", "ioWaitTimeRecursive"),
    ("io_merged_recursive", "ioMergedRecursive"),
    ("io_time_recursive", "ioTimeRecursive"),
    ("sectors_recursive", "sectorsRecursive"),
)


def docker(stats: Json, machine_memory: int) -> Json:
    """cpu_stats, memory_stats, pids_stats and blkio_stats; the caller adds system_cpu_usage, online_cpus, networks and
    the times. `machine_memory` in bytes stands in where the container has no limit.

    As in Docker, v2 has no percpu_usage and no max_usage, only bytes read and written of block I/O, and its
    memory_stats.stats has v2's names. A client's "memory in use" is usage - total_inactive_file (v1) or
    usage - inactive_file (v2).
    """
    second = stats["version"] == 2
    cpu, memory, pids = stats["cpu"], stats["memory"], stats["pids"]
    usage = {
        "total_usage": cpu["usage"]["total"],
        "usage_in_kernelmode": cpu["usage"]["kernel"],
        "usage_in_usermode": cpu["usage"]["user"],
    }
    if "percpu" in cpu["usage"]:
        usage["percpu_usage"] = cpu["usage"]["percpu"]
    throttling = cpu["throttling"]
    return {
        "cpu_stats": {
            "cpu_usage": usage,
            "throttling_data": {
                "periods": throttling["periods"],
                "throttled_periods": throttling["throttledPeriods"],
                "throttled_time": throttling["throttledTime"],
            },
        },
        "memory_stats": _memory(memory, second, machine_memory),
        "pids_stats": {"current": pids["current"], "limit": pids["limit"] or (_UNLIMITED if second else 0)},
        "blkio_stats": _blkio(stats["blkio"], second),
    }


def _memory(memory: Json, second: bool, machine_memory: int) -> Json:
    usage = memory["usage"]
    found = {
        "usage": usage["usage"],
        "stats": memory["raw"],
        "limit": min(usage["limit"], machine_memory) if machine_memory else usage["limit"],
    }
    if not second:
        found["max_usage"] = usage["max"]
    if usage["failcnt"]:
        found["failcnt"] = usage["failcnt"]
    return found


def _blkio(blkio: Json, second: bool) -> Json:
    if not second:
        return {name: blkio[key] for name, key in _BLKIO}
    found: Json = {name: None for name, _ in _BLKIO}
    found["io_service_bytes_recursive"] = [
        {**entry, "op": entry["op"].lower()}
        for entry in blkio["ioServiceBytesRecursive"]
        if entry["op"] in ("Read", "Write")
    ] or None
    return found
