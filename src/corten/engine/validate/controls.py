"""Limits that this machine cannot set: a warning in Docker's words each, and what becomes of the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corten.engine.oci.facts import HostFacts, Json

_UNMOUNTED = "or the cgroup is not mounted."

#: (control, field of HostConfig, warning, what the field becomes)
_LIMITS: tuple[tuple[str, str, str, Any], ...] = (
    (
        "swappiness",
        "MemorySwappiness",
        f"Your kernel does not support memory swappiness capabilities {_UNMOUNTED} Memory swappiness discarded.",
        None,
    ),
    (
        "reservation",
        "MemoryReservation",
        f"Your kernel does not support memory soft limit capabilities {_UNMOUNTED} Limitation discarded.",
        0,
    ),
    (
        "oom_kill_disable",
        "OomKillDisable",
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
        None,
    ),
    (
        "pids",
        "PidsLimit",
        f"Your kernel does not support PIDs limit capabilities {_UNMOUNTED} PIDs limit discarded.",
        None,
    ),
    # a Windows limit: no Linux machine has this control
    ("cpu_percent", "CpuPercent", "linux does not support CPU percent. Percent discarded.", 0),
    ("cpu_shares", "CpuShares", f"Your kernel does not support CPU shares {_UNMOUNTED} Shares discarded.", 0),
    ("cpu_cfs", "CpuPeriod", f"Your kernel does not support CPU CFS scheduler {_UNMOUNTED} CPU period discarded.", 0),
    ("cpu_cfs", "CpuQuota", f"Your kernel does not support CPU CFS scheduler {_UNMOUNTED} CPU quota discarded.", 0),
    ("cpuset", "CpusetCpus", f"Your kernel does not support cpuset {_UNMOUNTED} Cpuset discarded.", ""),
    ("cpuset", "CpusetMems", f"Your kernel does not support cpuset {_UNMOUNTED} Cpuset discarded.", ""),
    (
        "blkio_weight",
        "BlkioWeight",
        f"Your kernel does not support Block I/O weight {_UNMOUNTED} Weight discarded.",
        0,
    ),
    (
        "blkio_weight_device",
        "BlkioWeightDevice",
        f"Your kernel does not support Block I/O weight_device {_UNMOUNTED} Weight-device discarded.",
        [],
    ),
    (
        "blkio_read_bps",
        "BlkioDeviceReadBps",
        f"Your kernel does not support BPS Block I/O read limit {_UNMOUNTED} Block I/O BPS read limit discarded.",
        [],
    ),
    (
        "blkio_write_bps",
        "BlkioDeviceWriteBps",
        f"Your kernel does not support BPS Block I/O write limit {_UNMOUNTED} Block I/O BPS write limit discarded.",
        [],
    ),
    (
        "blkio_read_iops",
        "BlkioDeviceReadIOps",
        f"Your kernel does not support IOPS Block read limit {_UNMOUNTED} Block I/O IOPS read limit discarded.",
        [],
    ),
    (
        "blkio_write_iops",
        "BlkioDeviceWriteIOps",
        f"Your kernel does not support IOPS Block write limit {_UNMOUNTED} Block I/O IOPS write limit discarded.",
        [],
    ),
)


def missing_controls(host: Mapping[str, Any], facts: HostFacts) -> tuple[list[str], Json]:
    """(warnings, fields to replace) for what `host` asks and the machine cannot do."""
    warnings, changes = _missing_memory(host, facts)
    for control, field, warning, replacement in _LIMITS:
        if control not in facts.controls and host.get(field) and host.get(field) != -1:
            if warning not in warnings:
                warnings.append(warning)
            changes[field] = replacement
    return warnings, changes


def _missing_memory(host: Mapping[str, Any], facts: HostFacts) -> tuple[list[str], Json]:
    memory, swap = host.get("Memory") or 0, host.get("MemorySwap") or 0
    if memory > 0 and "memory" not in facts.controls:
        text = f"Your kernel does not support memory limit capabilities {_UNMOUNTED} Limitation discarded."
        return [text], {"Memory": 0, "MemorySwap": -1}
    if memory > 0 and swap != -1 and "swap" not in facts.controls:
        text = f"Your kernel does not support swap limit capabilities {_UNMOUNTED} Memory limited without swap."
        return [text], {"MemorySwap": -1}
    return [], {}
