"""Limits that this machine cannot set: a warning in Docker's words each, and what becomes of the request."""

from __future__ import annotations

from typing import Any

from corten.plan.facts import HostFacts
from corten.spec.docker.host_config import Resources
from corten.spec.json import Json

_UNMOUNTED = "or the cgroup is not mounted."

#: (control, field of HostConfig, warning, what the field becomes)
_LIMITS: tuple[tuple[str, str, str, Any], ...] = (
    (
        "swappiness",
        "memory_swappiness",
        f"Your kernel does not support memory swappiness capabilities {_UNMOUNTED} Memory swappiness discarded.",
        None,
    ),
    (
        "reservation",
        "memory_reservation",
        f"Your kernel does not support memory soft limit capabilities {_UNMOUNTED} Limitation discarded.",
        0,
    ),
    (
        "oom_kill_disable",
        "oom_kill_disable",
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
        None,
    ),
    (
        "pids",
        "pids_limit",
        f"Your kernel does not support PIDs limit capabilities {_UNMOUNTED} PIDs limit discarded.",
        None,
    ),
    # a Windows limit: no Linux machine has this control
    ("cpu_percent", "cpu_percent", "linux does not support CPU percent. Percent discarded.", 0),
    ("cpu_shares", "cpu_shares", f"Your kernel does not support CPU shares {_UNMOUNTED} Shares discarded.", 0),
    ("cpu_cfs", "cpu_period", f"Your kernel does not support CPU CFS scheduler {_UNMOUNTED} CPU period discarded.", 0),
    ("cpu_cfs", "cpu_quota", f"Your kernel does not support CPU CFS scheduler {_UNMOUNTED} CPU quota discarded.", 0),
    ("cpuset", "cpuset_cpus", f"Your kernel does not support cpuset {_UNMOUNTED} Cpuset discarded.", ""),
    ("cpuset", "cpuset_mems", f"Your kernel does not support cpuset {_UNMOUNTED} Cpuset discarded.", ""),
    (
        "blkio_weight",
        "blkio_weight",
        f"Your kernel does not support Block I/O weight {_UNMOUNTED} Weight discarded.",
        0,
    ),
    (
        "blkio_weight_device",
        "blkio_weight_device",
        f"Your kernel does not support Block I/O weight_device {_UNMOUNTED} Weight-device discarded.",
        [],
    ),
    (
        "blkio_read_bps",
        "blkio_device_read_bps",
        f"Your kernel does not support BPS Block I/O read limit {_UNMOUNTED} Block I/O BPS read limit discarded.",
        [],
    ),
    (
        "blkio_write_bps",
        "blkio_device_write_bps",
        f"Your kernel does not support BPS Block I/O write limit {_UNMOUNTED} Block I/O BPS write limit discarded.",
        [],
    ),
    (
        "blkio_read_iops",
        "blkio_device_read_iops",
        f"Your kernel does not support IOPS Block read limit {_UNMOUNTED} Block I/O IOPS read limit discarded.",
        [],
    ),
    (
        "blkio_write_iops",
        "blkio_device_write_iops",
        f"Your kernel does not support IOPS Block write limit {_UNMOUNTED} Block I/O IOPS write limit discarded.",
        [],
    ),
)


def missing_controls(host: Resources, facts: HostFacts) -> tuple[list[str], Json]:
    """(warnings, fields to replace by their Python names) for what `host` asks and the machine cannot do."""
    warnings, changes = _missing_memory(host, facts)
    for control, field, warning, replacement in _LIMITS:
        if control not in facts.controls and getattr(host, field) not in (None, 0, "", [], -1):
            if warning not in warnings:
                warnings.append(warning)
            changes[field] = replacement
    return warnings, changes


def _missing_memory(host: Resources, facts: HostFacts) -> tuple[list[str], Json]:
    memory, swap = host.memory, host.memory_swap
    if memory > 0 and "memory" not in facts.controls:
        text = f"Your kernel does not support memory limit capabilities {_UNMOUNTED} Limitation discarded."
        return [text], {"memory": 0, "memory_swap": -1}
    if memory > 0 and swap != -1 and "swap" not in facts.controls:
        text = f"Your kernel does not support swap limit capabilities {_UNMOUNTED} Memory limited without swap."
        return [text], {"memory_swap": -1}
    return [], {}
