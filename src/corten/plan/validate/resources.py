"""Memory, CPU, cpuset, process and block I/O limits: dockerd's checks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from corten.errors import Invalid
from corten.plan.facts import HostFacts
from corten.plan.validate.controls import missing_controls
from corten.spec.docker.host_config import HostConfig, Resources, RestartPolicy, Ulimit

_MINIMUM_MEMORY = 6 << 20
_MAXIMUM_CPU = 8192  # moby's bound; without one "0-2147483647" builds a set of two thousand million (CVE-2018-20699)
_RANGE = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", re.ASCII)
ULIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
)
_POLICIES = ("", "no", "always", "unless-stopped", "on-failure")


def check_resources(asked: Resources, facts: HostFacts, update: bool = False) -> list[str]:
    """Check resources; returns warnings. `update` leaves out what only holds for a whole request. Raises Invalid."""
    warnings, changes = missing_controls(asked, facts)
    host = asked.replace(**changes)
    _check_memory(host, update)
    _check_cpu(host, facts)
    check_cpuset("CPUs", "cpus", host.cpuset_cpus, facts.cpuset_cpus)
    check_cpuset("memory nodes", "mems", host.cpuset_mems, facts.cpuset_mems)
    weight = host.blkio_weight
    if weight and not 10 <= weight <= 1000:
        raise Invalid("Range of blkio weight is from 10 to 1000")
    _check_devices(host)
    if host.oom_kill_disable and not host.memory:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, "
            "this can result in the system running out of resources."
        )
    return warnings


def _check_devices(host: Resources) -> None:
    """Block devices are given by path; that they exist is seen when the document is made."""
    throttled = (
        host.blkio_device_read_bps,
        host.blkio_device_write_bps,
        host.blkio_device_read_iops,
        host.blkio_device_write_iops,
    )
    for path in (each.path for devices in (host.blkio_weight_device, *throttled) for each in devices or ()):
        if not path.startswith("/"):
            raise Invalid(f"bad format for path: {path}")
    for weighed in host.blkio_weight_device or ():
        if not 10 <= weighed.weight <= 1000:
            raise Invalid("Range of blkio weight is from 10 to 1000")


def _check_memory(host: Resources, update: bool) -> None:
    memory, swap = host.memory, host.memory_swap
    reservation, swappiness = host.memory_reservation, host.memory_swappiness
    if memory and memory < _MINIMUM_MEMORY:
        raise Invalid("Minimum memory limit allowed is 6MB")
    if memory > 0 and 0 < swap < memory:
        raise Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0 and not update:
        raise Invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
    if swap < -1:
        raise Invalid(f"Invalid value: {swap}, memoryswap is a number of bytes or -1")
    if swappiness is not None and swappiness != -1 and not 0 <= swappiness <= 100:
        raise Invalid(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    if reservation and reservation < _MINIMUM_MEMORY:
        raise Invalid("Minimum memory reservation allowed is 6MB")
    if 0 < memory < reservation:
        raise Invalid("Minimum memory limit can not be less than memory reservation limit, see usage")


def _check_cpu(host: Resources, facts: HostFacts) -> None:
    nano, period, quota = host.nano_cpus, host.cpu_period, host.cpu_quota
    if nano and period > 0:
        raise Invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if nano and quota > 0:
        raise Invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if nano and "cpu_cfs" not in facts.controls:
        raise Invalid(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted"
        )
    if nano < 0 or nano > facts.cpus * 1_000_000_000:
        raise Invalid(f"range of CPUs is from 0.01 to {facts.cpus}.00, as there are only {facts.cpus} CPUs available")
    if host.cpu_shares < 0:
        raise Invalid(f"shares: invalid argument: {host.cpu_shares}")
    if period and not 1000 <= period <= 1_000_000:
        raise Invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < quota < 1000:
        raise Invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    _check_realtime(host, facts)


def _check_realtime(host: Resources, facts: HostFacts) -> None:
    period, runtime = host.cpu_realtime_period, host.cpu_realtime_runtime
    if period and runtime > period:
        raise Invalid("cpu real-time runtime cannot be higher than cpu real-time period")
    if (period or runtime) and "cpu_rt" not in facts.controls:
        raise Invalid("Your kernel does not support cgroup cpu real-time runtime")


def check_cpuset(noun: str, short: str, text: str, available: frozenset[int]) -> None:
    """A list like "0-2,7" against what the machine has."""
    if not parse_cpuset(text, short) <= available:
        raise Invalid(f"Requested {noun} are not available - requested {text}, available: {cpuset_text(available)}")


def parse_cpuset(text: str, short: str = "cpus") -> set[int]:
    """The numbers of a cpuset list; "" is the empty set. Raises Invalid for a wrong form or a number above 8192."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        match = _RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise Invalid(f"Invalid value {text} for cpuset {short}: invalid format: {text}")
        if last > _MAXIMUM_CPU:
            raise Invalid(f"Invalid value {text} for cpuset {short}: value of out range, maximum is {_MAXIMUM_CPU}")
        found.update(range(first, last + 1))
    return found


def cpuset_text(numbers: Iterable[int]) -> str:
    """The kernel's own form: {0, 1, 2, 7} is "0-2,7"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def check_ulimits(limits: Sequence[Ulimit]) -> None:
    """Raises Invalid for an unknown name, a soft limit above the hard one, or a value out of range."""
    for limit in limits:
        name, soft, hard = limit.name, limit.soft, limit.hard
        if name not in ULIMITS:
            raise Invalid(f"invalid ulimit type: {name}")
        if soft < -1 or hard < -1:
            raise Invalid(f"invalid ulimit {name}: limits are numbers from 0 on, or -1 for none")
        if hard != -1 and (soft > hard or soft == -1):
            raise Invalid(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")


def unreachable(host: HostConfig, facts: HostFacts) -> list[str]:
    """Warnings: what only CAP_SYS_RESOURCE could give, and what the container gets instead."""
    warnings = []
    for limit in host.ulimits or ():
        most, wanted = facts.bounds.get(limit.name, -1), limit.hard
        if most != -1 and (wanted == -1 or wanted > most):
            name = limit.name
            warnings.append(f"No CAP_SYS_RESOURCE: ulimit {name} cannot be raised to {wanted}, it will be {most}")
    score = host.oom_score_adj
    if score < facts.lowest_oom_score_adj:
        least = facts.lowest_oom_score_adj
        warnings.append(f"No CAP_SYS_RESOURCE: oom-score-adj cannot be lowered to {score}, it will be {least}")
    return warnings


def check_restart_policy(policy: RestartPolicy) -> None:
    name, count = policy.name, policy.maximum_retry_count
    if name not in _POLICIES:
        raise Invalid(f"invalid restart policy '{name}'")
    if count and name in ("no", "always", "unless-stopped"):
        raise Invalid(f"maximum retry count cannot be used with restart policy '{name}'")
    if count < 0:
        raise Invalid("maximum retry count cannot be negative")
