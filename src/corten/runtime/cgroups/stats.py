"""What a group has used, in the shape of runc's `events --stats`, from v1 and v2 files alike.

{"cpu":    {"usage": {"total", "user", "kernel", "percpu"?}, "throttling": {"periods", "throttledPeriods",
            "throttledTime"}},                                          nanoseconds
 "memory": {"cache", "usage": {"limit", "usage", "max", "failcnt"}, "swap": {the same, memory and swap together},
            "kernel"?, "kernelTCP"?, "raw": {memory.stat}},             bytes
 "pids":   {"current", "limit"},                                        limit 0: none
 "blkio":  {"ioServiceBytesRecursive": [{"major", "minor", "op", "value"}], ...},
 "hugetlb": {"2MB": {"usage", "max", "failcnt"}},
 "version": 1 or 2}     whose names memory.raw uses; Docker's clients compute memory in use from it
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from corten.kernel import cgroupfs
from corten.kernel.cgroupfs import parse_flat, parse_limit
from corten.runtime.cgroups.knobs import NOWHERE
from corten.runtime.cgroups.layout import Layout

Json = dict[str, Any]
Directory = Callable[[str], int]

UNLIMITED = 0xFFFFFFFFFFFFFFFF
_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _text(directory: int, file: str) -> str:
    """The content, or "" where the machine has no such file."""
    if directory == NOWHERE:
        return ""
    try:
        return cgroupfs.read(directory, file)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return ""
        raise


def _number(directory: int, file: str) -> int:
    return parse_limit(_text(directory, file) or "0")


def read(layout: Layout, directory: Directory, unified: int | None) -> Json:
    """All sections. A controller that the machine lacks has zeros."""
    second = layout.mode == "v2"
    return {
        "cpu": _cpu2(unified) if second and unified is not None else _cpu1(directory("cpu"), directory("cpuacct")),
        "memory": _memory2(directory("memory")) if _is2(layout, "memory") else _memory1(directory("memory")),
        "pids": _pids(directory("pids")),
        "blkio": _blkio1(directory("blkio")) if layout.of("blkio") else _io2(directory("io")),
        "hugetlb": _hugetlb(directory("hugetlb"), 2 if _is2(layout, "hugetlb") else 1),
        "version": layout.version,
    }


def _is2(layout: Layout, controller: str) -> bool:
    hierarchy = layout.of(controller)
    return hierarchy is not None and hierarchy.version == 2


def _throttling(flat: dict[str, int], unit: int) -> Json:
    return {
        "periods": flat.get("nr_periods", 0),
        "throttledPeriods": flat.get("nr_throttled", 0),
        "throttledTime": flat.get("throttled_time", flat.get("throttled_usec", 0)) * unit,
    }


def _cpu1(cpu: int, cpuacct: int) -> Json:
    ticks = parse_flat(_text(cpuacct, "cpuacct.stat"))
    usage = {
        "total": _number(cpuacct, "cpuacct.usage"),
        "percpu": [int(word) for word in _text(cpuacct, "cpuacct.usage_percpu").split()],
        "kernel": ticks.get("system", 0) * _TICK,
        "user": ticks.get("user", 0) * _TICK,
    }
    return {"usage": usage, "throttling": _throttling(parse_flat(_text(cpu, "cpu.stat")), 1)}


def _cpu2(directory: int) -> Json:
    flat = parse_flat(_text(directory, "cpu.stat"))
    names = (("total", "usage_usec"), ("kernel", "system_usec"), ("user", "user_usec"))
    return {
        "usage": {name: flat.get(key, 0) * 1000 for name, key in names},
        "throttling": _throttling(flat, 1000),
    }


def _memory1(directory: int) -> Json:
    raw = parse_flat(_text(directory, "memory.stat"))
    found: Json = {"cache": raw.get("cache", 0), "raw": raw}
    for name, prefix in (("usage", ""), ("swap", "memsw."), ("kernel", "kmem."), ("kernelTCP", "kmem.tcp.")):
        found[name] = {
            "limit": _number(directory, f"memory.{prefix}limit_in_bytes"),
            "usage": _number(directory, f"memory.{prefix}usage_in_bytes"),
            "max": _number(directory, f"memory.{prefix}max_usage_in_bytes"),
            "failcnt": _number(directory, f"memory.{prefix}failcnt"),
        }
    return found


def _memory2(directory: int) -> Json:
    """v2 counts swap by itself; added to memory it is what v1 says, and a highest use cannot be added."""
    raw = parse_flat(_text(directory, "memory.stat"))
    usage = {
        "limit": _number(directory, "memory.max"),
        "usage": _number(directory, "memory.current"),
        "max": _number(directory, "memory.peak"),
        "failcnt": parse_flat(_text(directory, "memory.events")).get("oom", 0),
    }
    swap, limit = _number(directory, "memory.swap.current"), _number(directory, "memory.swap.max")
    both = UNLIMITED if UNLIMITED in (limit, usage["limit"]) else limit + usage["limit"]
    return {
        "cache": raw.get("file", 0),
        "usage": usage,
        "swap": {"limit": both, "usage": usage["usage"] + swap, "max": 0, "failcnt": 0},
        "raw": raw,
    }


def _pids(directory: int) -> Json:
    limit = _number(directory, "pids.max")
    return {"current": _number(directory, "pids.current"), "limit": 0 if limit == UNLIMITED else limit}


_BLKIO1 = (
    ("ioServiceBytesRecursive", "io_service_bytes"),
    ("ioServicedRecursive", "io_serviced"),
    ("ioQueueRecursive", "io_queued"),
    ("ioServiceTimeRecursive", "io_service_time"),
    ("ioWaitTimeRecursive", "io_wait_time"),
    ("ioMergedRecursive", "io_merged"),
    ("ioTimeRecursive", "time"),
    ("sectorsRecursive", "sectors"),
)


def _blkio1(directory: int) -> Json:
    """The scheduler of a device counts: bfq, or cfq of old kernels, or none and then the throttle layer."""
    found: Json = {}
    for name, file in _BLKIO1:
        lines: list[Json] = []
        for prefix in ("blkio.bfq.", "blkio.", "blkio.throttle."):
            lines = lines or _entries(_text(directory, f"{prefix}{file}_recursive"))
        found[name] = lines
    return found


def _entries(text: str) -> list[Json]:
    """ "8:0 Read 4096" lines; "8:0 17" has no kind, and "Total 4096" no device."""
    found = []
    for line in text.splitlines():
        device, *kind, value = line.split()
        if ":" in device:
            major, minor = device.split(":")
            found.append({"major": int(major), "minor": int(minor), "op": "".join(kind), "value": int(value)})
    return found


_IO2 = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "dbytes": ("ioServiceBytesRecursive", "Discard"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
    "dios": ("ioServicedRecursive", "Discard"),
}


def _io2(directory: int) -> Json:
    found: Json = {name: [] for name, _ in _BLKIO1}
    for line in _text(directory, "io.stat").splitlines():
        device, *pairs = line.split()
        if ":" not in device:
            continue
        major, minor = (int(word) for word in device.split(":"))
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key in _IO2:
                name, op = _IO2[key]
                found[name].append({"major": major, "minor": minor, "op": op, "value": int(value)})
    return found


def _hugetlb(directory: int, version: int) -> Json:
    if directory == NOWHERE:
        return {}
    found = {}
    for size in page_sizes():
        if version == 2:
            events = parse_flat(_text(directory, f"hugetlb.{size}.events"))
            usage, peak, failcnt = _number(directory, f"hugetlb.{size}.current"), 0, events.get("max", 0)
        else:
            usage, peak, failcnt = (
                _number(directory, f"hugetlb.{size}.{file}")
                for file in ("usage_in_bytes", "max_usage_in_bytes", "failcnt")
            )
        found[size] = {"usage": usage, "max": peak, "failcnt": failcnt}
    return found


def page_sizes() -> tuple[str, ...]:
    """The huge pages of this machine, as the files name them: "2MB", "1GB"."""
    try:
        names = os.listdir("/sys/kernel/mm/hugepages")
    except FileNotFoundError:
        return ()
    sizes = []
    for name in sorted(names):
        size = int(name.removeprefix("hugepages-").removesuffix("kB"))
        for unit in ("KB", "MB", "GB"):
            if size < 1024:
                sizes.append(f"{size}{unit}")
                break
            size //= 1024
    return tuple(sizes)
