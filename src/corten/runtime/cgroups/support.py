"""What this machine can limit, as `docker info` shows it, found by making a group and looking at its files.

Root groups lack most files, so nothing is learnt from those; and a controller can be mounted and still not be given to
groups below (v2, processes in the way), which only a trial shows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from corten.errors import CortenError
from corten.runtime.cgroups import group
from corten.runtime.cgroups.knobs import NOWHERE
from corten.runtime.cgroups.layout import Layout

Json = dict[str, Any]

# Docker's name in `info` (or ours, where it has none), controller and file in v1, and in v2; "" is never there.
_FILES: tuple[tuple[str, str, str, str, str], ...] = (
    ("MemoryLimit", "memory", "memory.limit_in_bytes", "memory", "memory.max"),
    ("SwapLimit", "memory", "memory.memsw.limit_in_bytes", "memory", "memory.swap.max"),
    ("MemoryReservation", "memory", "memory.soft_limit_in_bytes", "memory", "memory.low"),
    ("MemorySwappiness", "memory", "memory.swappiness", "memory", ""),
    ("OomKillDisable", "memory", "memory.oom_control", "memory", ""),
    ("CpuCfsPeriod", "cpu", "cpu.cfs_period_us", "cpu", "cpu.max"),
    ("CpuCfsQuota", "cpu", "cpu.cfs_quota_us", "cpu", "cpu.max"),
    ("CPUShares", "cpu", "cpu.shares", "cpu", "cpu.weight"),
    ("CPURealtime", "cpu", "cpu.rt_runtime_us", "cpu", ""),
    ("CPUSet", "cpuset", "cpuset.cpus", "cpuset", "cpuset.cpus"),
    ("PidsLimit", "pids", "pids.max", "pids", "pids.max"),
    ("BlkioWeight", "blkio", "blkio.weight blkio.bfq.weight", "io", "io.weight io.bfq.weight"),
    ("BlkioWeightDevice", "blkio", "blkio.weight_device blkio.bfq.weight_device", "io", "io.weight io.bfq.weight"),
    ("BlkioReadBpsDevice", "blkio", "blkio.throttle.read_bps_device", "io", "io.max"),
    ("BlkioWriteBpsDevice", "blkio", "blkio.throttle.write_bps_device", "io", "io.max"),
    ("BlkioReadIOpsDevice", "blkio", "blkio.throttle.read_iops_device", "io", "io.max"),
    ("BlkioWriteIOpsDevice", "blkio", "blkio.throttle.write_iops_device", "io", "io.max"),
)

# Docker's lines in `info`, in its order, and for which version there is one.
_WARNINGS: tuple[tuple[str, str, str], ...] = (
    ("MemoryLimit", "No memory limit support", "No memory limit support"),
    ("SwapLimit", "No swap limit support", "No swap limit support"),
    ("OomKillDisable", "No oom kill disable support", ""),
    ("CpuCfsQuota", "No cpu cfs quota support", "No cpu cfs quota support"),
    ("CpuCfsPeriod", "No cpu cfs period support", "No cpu cfs period support"),
    ("CPUShares", "No cpu shares support", "No cpu shares support"),
    ("CPUSet", "No cpuset support", "No cpuset support"),
    ("PidsLimit", "No pids limit support", "No pids limit support"),
    ("BlkioWeight", "", "No io.weight support"),
    ("BlkioWeightDevice", "", "No io.weight (per device) support"),
    ("BlkioReadBpsDevice", "No blkio throttle.read_bps_device support", "No io.max (rbps) support"),
    ("BlkioWriteBpsDevice", "No blkio throttle.write_bps_device support", "No io.max (wbps) support"),
    ("BlkioReadIOpsDevice", "No blkio throttle.read_iops_device support", "No io.max (riops) support"),
    ("BlkioWriteIOpsDevice", "No blkio throttle.write_iops_device support", "No io.max (wiops) support"),
)


def support(layout: Layout) -> Json:
    """The fields of `docker info` about limits (true or false each), CgroupDriver, CgroupVersion ("1" or "2"),
    CgroupLayout ("v1", "v2", "hybrid", "none") and Warnings. Takes a millisecond; worth keeping, since it only changes
    with a reboot."""
    there = _probe(layout)
    found: Json = {}
    for name, first, files1, second, files2 in _FILES:
        hierarchy = layout.of(first) or layout.of(second)
        is2 = hierarchy is not None and hierarchy.version == 2
        found[name] = any(there(second if is2 else first, file) for file in (files2 if is2 else files1).split())
    found["CgroupDriver"] = "cgroupfs" if layout.hierarchies else "none"
    found["CgroupVersion"] = str(layout.version)
    found["CgroupLayout"] = layout.mode
    found["Warnings"] = [
        f"WARNING: {words[layout.version - 1]}"
        for name, *words in _WARNINGS
        if not found[name] and words[layout.version - 1]
    ]
    return found


def _probe(layout: Layout) -> Callable[[str, str], bool]:
    """A test for (controller, file), answered from one group that is gone again."""
    try:
        trial = group.create(layout, f"/corten-support-{os.getpid()}", in_userns=True)
    except (OSError, CortenError):  # read-only: nothing can be limited
        return lambda controller, file: False
    try:
        listings = {
            controller: frozenset(os.listdir(trial.directory(controller)))
            for controller in ("memory", "cpu", "cpuset", "pids", "blkio", "io")
            if trial.directory(controller) != NOWHERE
        }
    finally:
        trial.remove()
    return lambda controller, file: file in listings.get(controller, ())
