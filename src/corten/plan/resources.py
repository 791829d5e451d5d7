"""Docker's resource fields as OCI's linux.resources, at create and for `docker update`."""

from __future__ import annotations

from corten.errors import Invalid
from corten.plan.facts import HostFacts
from corten.spec.docker.host_config import Resources
from corten.spec.json import Json

_CFS_PERIOD = 100_000  # microseconds; the kernel's default, in which NanoCpus is expressed


def resources(host: Resources, facts: HostFacts) -> Json:
    """linux.resources without its device list; groups and fields that are unset are left out.

    A new container's swap is unlimited anyway, so -1 is left out too: there may be no file to write it to.
    """
    limits = memory(host)
    if limits.get("swap") == -1:
        del limits["swap"]
    groups = {"memory": limits, "cpu": cpu(host), "blockIO": block_io(host, facts)}
    result: Json = {name: group for name, group in groups.items() if group}
    limit = host.pids_limit
    if limit is not None:
        result["pids"] = {"limit": limit if limit > 0 else -1}
    return result


def memory(host: Resources) -> Json:
    """OCI's memory group, in bytes. OCI's swap is memory and swap together, as Docker's is."""
    result: Json = {}
    if host.memory:
        result["limit"] = host.memory
    if host.memory_reservation:
        result["reservation"] = host.memory_reservation
    swap = memory_swap(host)
    if swap:
        result["swap"] = swap
    swappiness = host.memory_swappiness
    if swappiness is not None and swappiness != -1:
        result["swappiness"] = swappiness
    if host.oom_kill_disable:
        result["disableOOMKiller"] = True
    return result


def memory_swap(host: Resources) -> int:
    """Memory plus swap: -1 is no limit, and a memory limit alone allows as much swap again."""
    asked, limit = host.memory_swap, host.memory
    return 2 * limit if limit > 0 and asked == 0 else asked


def cpu(host: Resources) -> Json:
    result: Json = {}
    if host.cpu_shares:
        result["shares"] = host.cpu_shares
    if host.nano_cpus:
        result["period"] = _CFS_PERIOD
        result["quota"] = host.nano_cpus * _CFS_PERIOD // 1_000_000_000
    asked = {
        "period": host.cpu_period,
        "quota": host.cpu_quota,
        "realtimePeriod": host.cpu_realtime_period,
        "realtimeRuntime": host.cpu_realtime_runtime,
        "cpus": host.cpuset_cpus,
        "mems": host.cpuset_mems,
    }
    return {**result, **{name: value for name, value in asked.items() if value}}


def block_io(host: Resources, facts: HostFacts) -> Json:
    """Weights and throttles; devices are given by path and become numbers here."""
    result: Json = {}
    if host.blkio_weight:
        result["weight"] = host.blkio_weight
    if host.blkio_weight_device:
        result["weightDevice"] = [_block(each.path, facts, weight=each.weight) for each in host.blkio_weight_device]
    throttles = {
        "throttleReadBpsDevice": host.blkio_device_read_bps,
        "throttleWriteBpsDevice": host.blkio_device_write_bps,
        "throttleReadIOPSDevice": host.blkio_device_read_iops,
        "throttleWriteIOPSDevice": host.blkio_device_write_iops,
    }
    for name, devices in throttles.items():
        if devices:
            result[name] = [_block(each.path, facts, rate=each.rate) for each in devices]
    return result


def _block(path: str, facts: HostFacts, **value: int) -> Json:
    try:
        nodes = facts.devices(path)
    except OSError as error:
        raise Invalid(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if len(nodes) != 1:
        raise Invalid(f"{path}: not a device")
    return {"major": nodes[0].major, "minor": nodes[0].minor, **value}
