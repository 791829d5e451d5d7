"""OCI's linux.resources into control groups of version 2, one function a controller; see `v1` for the convention.

OCI's numbers are those of version 1, so several are converted, as runc does it, and the same configuration means the
same on both. Files: Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from corten.errors import Invalid
from corten.kernel import bpf, cgroupfs
from corten.runtime.cgroups import devices as device_rules
from corten.runtime.cgroups import v1, words
from corten.runtime.cgroups.knobs import put, put_weights

Json = dict[str, Any]

_NO_LIMIT = "max"
_kept: dict[bytes, int] = {}  # descriptors of programs that are loaded already


def cpu_weight(shares: int) -> int:
    """cpu.shares (2 to 262144) as cpu.weight (1 to 10000), on a straight line."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def io_weight(weight: int) -> int:
    """blkio.weight (10 to 1000) as io.weight (1 to 10000)."""
    return 1 + (weight - 10) * 9999 // 990


def swap_only(swap: int, limit: int) -> int | None:
    """OCI's memory+swap as swap alone; None leaves it as it is. Invalid when swap is below the limit."""
    if limit == -1 and not swap:
        return -1
    if not swap:
        return None
    if swap == -1 or limit == -1:
        return swap
    if not limit:
        raise Invalid("memory swap limit needs a memory limit")
    if swap < limit:
        raise Invalid("memory+swap limit must not be below the memory limit")
    return swap - limit


def _number(value: int) -> object:
    return _NO_LIMIT if value < 0 else value


def memory(directory: int, resources: Json, warnings: list[str]) -> None:
    wanted = resources.get("memory") or {}
    limit, swap = wanted.get("limit") or 0, wanted.get("swap") or 0
    only = swap_only(swap, limit)
    if only is not None and not put(directory, "memory.swap.max", _number(only)) and only > 0:
        warnings.append(words.SWAP)
    if limit and not put(directory, "memory.max", _number(limit)):
        warnings.append(words.MEMORY)
    reservation = wanted.get("reservation")
    if reservation and not put(directory, "memory.low", _number(reservation)):
        warnings.append(words.RESERVATION)
    if wanted.get("swappiness") not in (None, -1):
        warnings.append(words.SWAPPINESS)
    if wanted.get("disableOOMKiller"):
        warnings.append(words.OOM_KILL_DISABLE)


def cpu(directory: int, resources: Json, warnings: list[str]) -> None:
    wanted = resources.get("cpu") or {}
    if wanted.get("idle") is not None and not put(directory, "cpu.idle", wanted["idle"]):
        warnings.append(words.IDLE)
    # An idle group takes no weight (EINVAL).
    weight = 0 if wanted.get("idle") else wanted.get("shares")
    if weight and not put(directory, "cpu.weight", cpu_weight(weight)):
        warnings.append(words.SHARES)
    _bandwidth(directory, wanted, warnings)
    if wanted.get("realtimePeriod") or wanted.get("realtimeRuntime"):
        warnings.append(words.REALTIME)


def _bandwidth(directory: int, wanted: Json, warnings: list[str]) -> None:
    """cpu.max holds quota and period. A burst above the present quota is refused, so quota comes first; a burst left
    above the new quota is refused too, so what fails first is tried again after the other."""
    quota, period, burst = wanted.get("quota") or 0, wanted.get("period") or 0, wanted.get("burst")
    knobs: list[tuple[str, object, str]] = []
    if quota or period:
        knobs.append(("cpu.max", _cpu_max(directory, quota, period), words.CFS))
    if burst is not None:
        knobs.append(("cpu.max.burst", burst, words.BURST))
    again = []
    for file, value, lacking in knobs:
        try:
            if not put(directory, file, value):
                warnings.append(lacking)
        except Invalid:
            again.append((file, value))
    for file, value in again:
        put(directory, file, value)


def _cpu_max(directory: int, quota: int, period: int) -> str:
    """What is not asked for stays as it is: an update of the period alone does not lift the quota."""
    now = ("max", "100000")
    if not (quota and period):
        try:
            first, second = cgroupfs.read(directory, "cpu.max").split()
            now = (first, second)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EBADF):
                raise
    return f"{_number(quota) if quota else now[0]} {period or now[1]}"


def io(directory: int, resources: Json, warnings: list[str]) -> None:
    wanted = resources.get("blockIO") or {}
    weight = wanted.get("weight") or 0
    if weight and not (put(directory, "io.bfq.weight", weight) or put(directory, "io.weight", io_weight(weight))):
        warnings.append(words.WEIGHT)
    pairs = [(f"{d['major']}:{d['minor']}", d["weight"]) for d in wanted.get("weightDevice") or () if d.get("weight")]
    if pairs and not (
        put_weights(directory, "io.bfq.weight", *(f"{device} {value}" for device, value in pairs))
        or put_weights(directory, "io.weight", *(f"{device} {io_weight(value)}" for device, value in pairs))
    ):
        warnings.append(words.WEIGHT_DEVICE)
    for key, _, word, lacking in v1.THROTTLES:
        # 0 lifts a limit in version 1; here that is "max".
        lines = [f"{d['major']}:{d['minor']} {word}={d['rate'] or 'max'}" for d in wanted.get(key) or ()]
        if lines and not put(directory, "io.max", *lines):
            warnings.append(lacking)


def hugetlb(directory: int, resources: Json, warnings: list[str]) -> None:
    for page in resources.get("hugepageLimits") or ():
        size, limit = page["pageSize"], page["limit"]
        if not put(directory, f"hugetlb.{size}.max", limit):
            warnings.append(words.HUGETLB.format(size))
            continue
        put(directory, f"hugetlb.{size}.rsvd.max", limit)  # since 5.7; without it the first one suffices


def net_cls(_: int, resources: Json, warnings: list[str]) -> None:
    """Version 2 has no such controllers; programs and firewalls match on the group's path instead."""
    if (resources.get("network") or {}).get("classID"):
        warnings.append(words.NETWORK)


def net_prio(_: int, resources: Json, warnings: list[str]) -> None:
    if (resources.get("network") or {}).get("priorities") and words.NETWORK not in warnings:
        warnings.append(words.NETWORK)


def devices(directory: int, rules: tuple[device_rules.Rule, ...]) -> None:
    """Attach the program for `rules`. On a group that has one it is exchanged in one step, so no open slips through."""
    code = device_rules.program(rules)
    kept = _kept.get(code)
    new = bpf.load(code) if kept is None else os.dup(kept)
    old: tuple[int, ...] = ()
    try:
        old = bpf.query(directory)
        bpf.attach(directory, new, old[0] if len(old) == 1 else None)
        if len(old) > 1:  # others are attached too; ours cannot be recognized, and all must agree anyway
            for fd in old:
                bpf.detach(directory, fd)
    finally:
        for fd in (new, *old):
            os.close(fd)


def keep_program(rules: tuple[device_rules.Rule, ...]) -> None:
    """Have the kernel check the program for `rules` now: in this process, and in those that are forked from it, it is
    only attached from here on."""
    program = device_rules.program(rules)
    if program not in _kept:
        _kept[program] = bpf.load(program)


def unified(directory: int, resources: Json, warnings: list[str]) -> None:
    """OCI's map from file name to content, last, because it may overrule what the rest has set."""
    for file, content in (resources.get("unified") or {}).items():
        if "/" in file or not file or file.startswith("."):
            raise Invalid(f"no control group file: {file!r}")
        if not put(directory, file, *(content.splitlines() or [""])):
            warnings.append(words.UNIFIED_FILE.format(file))


SECTIONS: dict[str, v1.Section] = {
    "memory": memory,
    "cpu": cpu,
    "cpuset": v1.cpuset,  # the files are the same
    "pids": v1.pids,
    "io": io,
    "hugetlb": hugetlb,
    "rdma": v1.rdma,
    "net_cls": net_cls,
    "net_prio": net_prio,
}


def enable(directory: int) -> None:
    """Hand every controller that this group has on to its children.

    A group other than the root that has processes gets nothing enabled: memory and io refuse (EBUSY, "no internal
    processes"), and the others would make it a threaded domain, below which no container can live. Realtime threads
    anywhere keep cpu from being enabled. What is missing below becomes a warning when a limit needs it.
    """
    has = set(cgroupfs.read(directory, "cgroup.controllers").split())
    missing = sorted(has - set(cgroupfs.read(directory, "cgroup.subtree_control").split()))
    if not missing or _is_occupied(directory):
        return
    try:
        cgroupfs.write(directory, "cgroup.subtree_control", " ".join(f"+{name}" for name in missing))
    except OSError:
        for name in missing:  # all or nothing above; now each by itself
            try:
                cgroupfs.write(directory, "cgroup.subtree_control", f"+{name}")
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP, errno.EPERM):
                    raise


def _is_occupied(directory: int) -> bool:
    try:
        cgroupfs.read(directory, "cgroup.type")
    except FileNotFoundError:  # the root, to which the rule does not apply
        return False
    return bool(cgroupfs.pids(directory, deep=False))
