"""Counters in the names of cAdvisor, which the kubelet passes on to Prometheus."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from corten.spec.protobuf import cri

Json = dict[str, Any]
COUNTER, GAUGE = 0, 1
_SECOND = 1_000_000_000
_LABELS = ["id", "name", "pod"]
_UNLIMITED = 1 << 62


class Sample(NamedTuple):
    """One container: Docker's counters, its configuration, what its processes hold, and the file system it is on."""

    stats: Json
    host: Json
    held: Json
    status: cri.ContainerStatus
    written: int
    disk: os.statvfs_result

    def of(self, *path: str) -> int:
        """A number of the counters, 0 where there is none."""
        found: Any = self.stats
        for name in path:
            found = (found or {}).get(name)
        return max(0, int(found or 0))

    def memory(self, *names: str) -> int:
        """The first that this version of control groups has."""
        details = (self.stats.get("memory_stats") or {}).get("stats") or {}
        return next((int(details[name]) for name in names if name in details), 0)

    def working_set(self) -> int:
        return max(0, self.of("memory_stats", "usage") - self.memory("total_inactive_file", "inactive_file"))


class Metric(NamedTuple):
    help: str
    kind: int
    value: Callable[[Sample], int | None]  # None: it is not known of this container


_CPU, _THROTTLED = ("cpu_stats", "cpu_usage"), ("cpu_stats", "throttling_data")

METRICS: Mapping[str, Metric] = {
    "container_cpu_usage_seconds_total": Metric(
        "Seconds of processors used", COUNTER, lambda s: s.of(*_CPU, "total_usage") // _SECOND
    ),
    "container_cpu_user_seconds_total": Metric(
        "Of these in programs", COUNTER, lambda s: s.of(*_CPU, "usage_in_usermode") // _SECOND
    ),
    "container_cpu_system_seconds_total": Metric(
        "Of these in the kernel", COUNTER, lambda s: s.of(*_CPU, "usage_in_kernelmode") // _SECOND
    ),
    "container_cpu_cfs_periods_total": Metric(
        "Periods in which a limit was enforced", COUNTER, lambda s: s.of(*_THROTTLED, "periods")
    ),
    "container_cpu_cfs_throttled_periods_total": Metric(
        "Of these throttled", COUNTER, lambda s: s.of(*_THROTTLED, "throttled_periods")
    ),
    "container_cpu_cfs_throttled_seconds_total": Metric(
        "Seconds throttled", COUNTER, lambda s: s.of(*_THROTTLED, "throttled_time") // _SECOND
    ),
    "container_memory_usage_bytes": Metric("Memory in use", GAUGE, lambda s: s.of("memory_stats", "usage")),
    "container_memory_max_usage_bytes": Metric(
        "The most so far", GAUGE, lambda s: s.of("memory_stats", "max_usage") or s.of("memory_stats", "usage")
    ),
    "container_memory_working_set_bytes": Metric(
        "Memory in use without what can be given back at once", GAUGE, lambda s: s.working_set()
    ),
    "container_memory_rss": Metric("Of it no file's", GAUGE, lambda s: s.memory("total_rss", "rss", "anon")),
    "container_memory_cache": Metric("Of it files'", GAUGE, lambda s: s.memory("total_cache", "cache", "file")),
    "container_memory_mapped_file": Metric(
        "Of these mapped", GAUGE, lambda s: s.memory("total_mapped_file", "mapped_file", "file_mapped")
    ),
    "container_memory_swap": Metric("Swapped out", GAUGE, lambda s: s.memory("total_swap", "swap")),
    "container_memory_kernel_usage": Metric("The kernel's for it", GAUGE, lambda s: s.memory("kernel", "slab")),
    "container_memory_failcnt": Metric("Limits hit", COUNTER, lambda s: s.of("memory_stats", "failcnt")),
    "container_memory_failures_total": Metric(
        "Page faults",
        COUNTER,
        lambda s: s.memory("total_pgfault", "pgfault") + s.memory("total_pgmajfault", "pgmajfault"),
    ),
    "container_oom_events_total": Metric("Out of memory", COUNTER, lambda s: int(s.status.reason == "OOMKilled")),
    "container_fs_usage_bytes": Metric("Written to its own layer", GAUGE, lambda s: s.written),
    "container_fs_limit_bytes": Metric("Bytes of its disk", GAUGE, lambda s: s.disk.f_blocks * s.disk.f_frsize),
    "container_fs_inodes_free": Metric("Inodes left there", GAUGE, lambda s: s.disk.f_ffree),
    "container_fs_inodes_total": Metric("Inodes there", GAUGE, lambda s: s.disk.f_files),
    "container_processes": Metric("Processes", GAUGE, lambda s: int(s.held.get("Processes", 0))),
    "container_threads": Metric("Threads", GAUGE, lambda s: int(s.held.get("Threads", 0))),
    "container_threads_max": Metric(
        "Most threads, 0 for any number", GAUGE, lambda s: min(s.of("pids_stats", "limit"), _UNLIMITED)
    ),
    "container_file_descriptors": Metric("Open files", GAUGE, lambda s: s.held.get("Descriptors")),
    "container_sockets": Metric("Open sockets", GAUGE, lambda s: s.held.get("Sockets")),
    "container_last_seen": Metric("When it was looked at", GAUGE, lambda _: int(time.time())),
    "container_start_time_seconds": Metric("When it began", GAUGE, lambda s: s.status.started_at // _SECOND),
    "container_spec_cpu_period": Metric("Limit's period", GAUGE, lambda s: int(s.host.get("CpuPeriod") or 100_000)),
    "container_spec_cpu_shares": Metric("Share of processors", GAUGE, lambda s: int(s.host.get("CpuShares") or 1024)),
    "container_spec_memory_limit_bytes": Metric("Memory limit", GAUGE, lambda s: int(s.host.get("Memory") or 0)),
    "container_spec_memory_swap_limit_bytes": Metric(
        "Memory and swap", GAUGE, lambda s: max(0, int(s.host.get("MemorySwap") or 0))
    ),
}
NETWORK: Mapping[str, tuple[str, str]] = {
    f"container_network_{way}_{noun}_total": (f"{noun.replace('_', ' ').capitalize()} {way}d", f"{short}_{key}")
    for way, short in (("receive", "rx"), ("transmit", "tx"))
    for noun, key in (
        ("bytes", "bytes"),
        ("errors", "errors"),
        ("packets", "packets"),
        ("packets_dropped", "dropped"),
    )
}
_IO = {
    "container_fs_reads_bytes_total": ("Bytes read from disks", "io_service_bytes_recursive", "read"),
    "container_fs_writes_bytes_total": ("Bytes written to disks", "io_service_bytes_recursive", "write"),
    "container_fs_reads_total": ("Reads of disks", "io_serviced_recursive", "read"),
    "container_fs_writes_total": ("Writes to disks", "io_serviced_recursive", "write"),
    "container_blkio_device_usage_total": ("Bytes to and from disks", "io_service_bytes_recursive", ""),
}


def descriptors() -> Iterator[cri.MetricDescriptor]:
    for name, metric in METRICS.items():
        yield cri.MetricDescriptor(name, metric.help, _LABELS)
    for name, (text, _) in NETWORK.items():
        yield cri.MetricDescriptor(name, text, ["id", "interface"])
    for name, (text, _, _) in _IO.items():
        yield cri.MetricDescriptor(name, text, _LABELS)


def of_container(sample: Sample, pod: str) -> list[cri.Metric]:
    now, status = time.time_ns(), sample.status
    labels = [status.id, status.metadata.name if status.metadata else "", pod]
    found = [
        cri.Metric(name, now, metric.kind, labels, cri.UInt64Value(value))
        for name, metric in METRICS.items()
        if (value := metric.value(sample)) is not None
    ]
    for name, (_, table, way) in _IO.items():
        rows = (sample.stats.get("blkio_stats") or {}).get(table) or []
        used = sum(int(row["value"]) for row in rows if way in ("", str(row.get("op")).lower()))
        found.append(cri.Metric(name, now, COUNTER, labels, cri.UInt64Value(used)))
    return found


def of_pod(sample: Sample, pod: str) -> list[cri.Metric]:
    """Of its network, which all of its containers have."""
    now = time.time_ns()
    return [
        cri.Metric(name, now, COUNTER, [pod, interface], cri.UInt64Value(int(counters.get(key) or 0)))
        for interface, counters in (sample.stats.get("networks") or {}).items()
        for name, (_, key) in NETWORK.items()
    ]
