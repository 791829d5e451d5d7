"""OCI's linux.resources into control groups of version 1, one function a controller.

Each takes the group's directory in that controller's tree (or NOWHERE), the resources, and a list to which it adds what
the machine cannot do. Only what is asked for is written. Files: Documentation/admin-guide/cgroup-v1.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from corten.errors import Conflict, Invalid
from corten.kernel import cgroupfs
from corten.runtime.cgroups import words
from corten.runtime.cgroups.knobs import NOWHERE, has, put, put_weights

Json = dict[str, Any]
Section = Callable[[int, Json, list[str]], None]


def memory(directory: int, resources: Json, warnings: list[str]) -> None:
    wanted = resources.get("memory") or {}
    limit, swap = wanted.get("limit") or 0, wanted.get("swap") or 0
    if limit or swap:
        _limits(directory, limit, swap, warnings)
    if wanted.get("reservation") and not put(directory, "memory.soft_limit_in_bytes", wanted["reservation"]):
        warnings.append(words.RESERVATION)
    swappiness = wanted.get("swappiness")
    if swappiness is not None and swappiness != -1 and not put(directory, "memory.swappiness", swappiness):
        warnings.append(words.SWAPPINESS)
    if wanted.get("disableOOMKiller") and not put(directory, "memory.oom_control", 1):
        warnings.append(words.OOM_KILL_DISABLE)


def _limits(directory: int, limit: int, swap: int, warnings: list[str]) -> None:
    """memory.limit_in_bytes may never be above memory.memsw.limit_in_bytes, not even between two writes: when both
    grow, memsw goes first, when both shrink, last."""
    if limit == -1 and not swap and has(directory, "memory.memsw.limit_in_bytes"):
        swap = -1  # no limit is no limit of swap either
    grows = False
    if limit and swap and directory != NOWHERE:
        grows = swap == -1 or int(cgroupfs.read(directory, "memory.limit_in_bytes")) < swap
    if swap and grows:
        _swap(directory, swap, warnings)
    if limit and not _limit(directory, limit):
        warnings.append(words.MEMORY)
    if swap and not grows:
        _swap(directory, swap, warnings)


def _limit(directory: int, limit: int) -> bool:
    try:
        return put(directory, "memory.limit_in_bytes", limit)
    except Invalid as error:
        raise Invalid(
            "memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        ) from error
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        usage = cgroupfs.read(directory, "memory.usage_in_bytes").strip()
        peak = cgroupfs.read(directory, "memory.max_usage_in_bytes").strip()
        raise Conflict(f"unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})") from error


def _swap(directory: int, swap: int, warnings: list[str]) -> None:
    if not put(directory, "memory.memsw.limit_in_bytes", swap):
        warnings.append(words.SWAP)


def cpu(directory: int, resources: Json, warnings: list[str]) -> None:
    wanted = resources.get("cpu") or {}
    realtime(directory, wanted, warnings)
    if wanted.get("shares") and not put(directory, "cpu.shares", wanted["shares"]):
        warnings.append(words.SHARES)
    bandwidth = [
        ("cpu.cfs_period_us", wanted.get("period") or None, words.CFS),
        ("cpu.cfs_quota_us", wanted.get("quota") or None, words.CFS),
        ("cpu.cfs_burst_us", wanted.get("burst"), words.BURST),
    ]
    _bandwidth(directory, [knob for knob in bandwidth if knob[1] is not None], warnings)
    if wanted.get("idle") is not None and not put(directory, "cpu.idle", wanted["idle"]):
        warnings.append(words.IDLE)


def _bandwidth(directory: int, knobs: list[tuple[str, Any, str]], warnings: list[str]) -> None:
    """Period, quota and burst are checked against one another at each write, so a combination that is right can be
    wrong on the way: what was refused is written once more after the others."""
    again = []
    for knob in knobs:
        try:
            if not put(directory, knob[0], knob[1]) and knob[2] not in warnings:
                warnings.append(knob[2])
        except Invalid:
            again.append(knob)
    for file, value, _ in again:
        put(directory, file, value)


def realtime(directory: int, wanted: Json, warnings: list[str]) -> None:
    period, runtime = wanted.get("realtimePeriod") or 0, wanted.get("realtimeRuntime")
    knobs = [("cpu.rt_period_us", period or None, words.REALTIME), ("cpu.rt_runtime_us", runtime, words.REALTIME)]
    _bandwidth(directory, [knob for knob in knobs if knob[1] is not None], warnings)


def cpuset(directory: int, resources: Json, warnings: list[str]) -> None:
    wanted = resources.get("cpu") or {}
    for file, key in (("cpuset.cpus", "cpus"), ("cpuset.mems", "mems")):
        if wanted.get(key) and not put(directory, file, wanted[key]) and words.CPUSET not in warnings:
            warnings.append(words.CPUSET)


def pids(directory: int, resources: Json, warnings: list[str]) -> None:
    limit = (resources.get("pids") or {}).get("limit")
    if limit is None:
        return
    # 0 would be no process at all; systemd and runc take it for 1.
    value = "max" if limit < 0 else max(limit, 1)
    if not put(directory, "pids.max", value) and value != "max":
        warnings.append(words.PIDS)


THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", words.READ_BPS),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", words.WRITE_BPS),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", words.READ_IOPS),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", words.WRITE_IOPS),
)


def blkio(directory: int, resources: Json, warnings: list[str]) -> None:
    wanted = resources.get("blockIO") or {}
    weight, leaf = wanted.get("weight") or 0, wanted.get("leafWeight") or 0
    if weight and not (put(directory, "blkio.weight", weight) or put(directory, "blkio.bfq.weight", weight)):
        warnings.append(words.WEIGHT)
    if leaf and not put(directory, "blkio.leaf_weight", leaf) and words.WEIGHT not in warnings:
        warnings.append(words.WEIGHT)
    lines = [f"{d['major']}:{d['minor']} {d['weight']}" for d in wanted.get("weightDevice") or () if d.get("weight")]
    if lines and not (
        put_weights(directory, "blkio.weight_device", *lines)
        or put_weights(directory, "blkio.bfq.weight_device", *lines)
    ):
        warnings.append(words.WEIGHT_DEVICE)
    for key, file, _, lacking in THROTTLES:
        lines = [f"{d['major']}:{d['minor']} {d['rate']}" for d in wanted.get(key) or ()]
        if lines and not put(directory, file, *lines):
            warnings.append(lacking)


def hugetlb(directory: int, resources: Json, warnings: list[str]) -> None:
    for page in resources.get("hugepageLimits") or ():
        size, limit = page["pageSize"], page["limit"]
        if not put(directory, f"hugetlb.{size}.limit_in_bytes", limit):
            warnings.append(words.HUGETLB.format(size))
            continue
        put(directory, f"hugetlb.{size}.rsvd.limit_in_bytes", limit)  # since 5.7; without it the first one suffices


def net_cls(directory: int, resources: Json, warnings: list[str]) -> None:
    classid = (resources.get("network") or {}).get("classID")
    if classid and not put(directory, "net_cls.classid", classid):
        warnings.append(words.NETWORK)


def net_prio(directory: int, resources: Json, warnings: list[str]) -> None:
    lines = [f"{p['name']} {p['priority']}" for p in (resources.get("network") or {}).get("priorities") or ()]
    if lines and not put(directory, "net_prio.ifpriomap", *lines):
        warnings.append(words.NETWORK)


def rdma(directory: int, resources: Json, warnings: list[str]) -> None:
    """The same file in both versions."""
    keys = (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
    lines = [
        " ".join([device, *(f"{word}={limits[key]}" for key, word in keys if limits.get(key) is not None)])
        for device, limits in (resources.get("rdma") or {}).items()
    ]
    if lines and not put(directory, "rdma.max", *lines):
        warnings.append(words.RDMA)


SECTIONS: dict[str, Section] = {
    "memory": memory,
    "cpu": cpu,
    "cpuset": cpuset,
    "pids": pids,
    "blkio": blkio,
    "hugetlb": hugetlb,
    "net_cls": net_cls,
    "net_prio": net_prio,
    "rdma": rdma,
}


def inherit_cpuset(directory: int, parent: int) -> None:
    """A new v1 cpuset has no processor and no memory node, and takes no process until it has; give it its parent's,
    and have the kernel do the same for groups that are made below it from now on."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not cgroupfs.read(directory, file).strip():
            cgroupfs.write(directory, file, cgroupfs.read(parent, file).strip())
    cgroupfs.write(directory, "cgroup.clone_children", 1)
