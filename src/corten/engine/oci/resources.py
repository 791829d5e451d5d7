"""Docker's resource fields as OCI's linux.resources, at create and for `docker update`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corten.engine.oci.facts import HostFacts, Json
from corten.errors import Invalid

_CFS_PERIOD = 100_000  # microseconds; the kernel's default, in which NanoCpus is expressed

#: (field of HostConfig, OCI's name, what each entry says)
_PER_DEVICE = (
    ("BlkioWeightDevice", "weightDevice", "Weight"),
    ("BlkioDeviceReadBps", "throttleReadBpsDevice", "Rate"),
    ("BlkioDeviceWriteBps", "throttleWriteBpsDevice", "Rate"),
    ("BlkioDeviceReadIOps", "throttleReadIOPSDevice", "Rate"),
    ("BlkioDeviceWriteIOps", "throttleWriteIOPSDevice", "Rate"),
)


def resources(host: Mapping[str, Any], facts: HostFacts) -> Json:
    """linux.resources without its device list; groups and fields that are unset are left out.

    A new container's swap is unlimited anyway, so -1 is left out too: there may be no file to write it to.
    """
    limits = memory(host)
    if limits.get("swap") == -1:
        del limits["swap"]
    groups = {"memory": limits, "cpu": cpu(host), "blockIO": block_io(host, facts)}
    result: Json = {name: group for name, group in groups.items() if group}
    limit = host.get("PidsLimit")
    if limit is not None:
        result["pids"] = {"limit": limit if limit > 0 else -1}
    return result


def memory(host: Mapping[str, Any]) -> Json:
    """OCI's memory group, in bytes. OCI's swap is memory and swap together, as Docker's is."""
    result: Json = {}
    if host.get("Memory"):
        result["limit"] = host["Memory"]
    if host.get("MemoryReservation"):
        result["reservation"] = host["MemoryReservation"]
    swap = memory_swap(host)
    if swap:
        result["swap"] = swap
    swappiness = host.get("MemorySwappiness")
    if swappiness is not None and swappiness != -1:
        result["swappiness"] = swappiness
    if host.get("OomKillDisable"):
        result["disableOOMKiller"] = True
    return result


def memory_swap(host: Mapping[str, Any]) -> int:
    """Memory plus swap: -1 is no limit, and a memory limit alone allows as much swap again."""
    asked, limit = host.get("MemorySwap") or 0, host.get("Memory") or 0
    return 2 * limit if limit > 0 and asked == 0 else asked


def cpu(host: Mapping[str, Any]) -> Json:
    result: Json = {}
    if host.get("CpuShares"):
        result["shares"] = host["CpuShares"]
    if host.get("NanoCpus"):
        result["period"] = _CFS_PERIOD
        result["quota"] = host["NanoCpus"] * _CFS_PERIOD // 1_000_000_000
    for key, name in (
        ("CpuPeriod", "period"),
        ("CpuQuota", "quota"),
        ("CpuRealtimePeriod", "realtimePeriod"),
        ("CpuRealtimeRuntime", "realtimeRuntime"),
        ("CpusetCpus", "cpus"),
        ("CpusetMems", "mems"),
    ):
        if host.get(key):
            result[name] = host[key]
    return result


def block_io(host: Mapping[str, Any], facts: HostFacts) -> Json:
    """Weights and throttles; devices are given by path and become numbers here."""
    result: Json = {}
    if host.get("BlkioWeight"):
        result["weight"] = host["BlkioWeight"]
    for key, name, unit in _PER_DEVICE:
        if host.get(key):
            value = unit.lower()
            result[name] = [_block(entry["Path"], facts, **{value: entry.get(unit) or 0}) for entry in host[key]]
    return result


def _block(path: str, facts: HostFacts, **value: int) -> Json:
    try:
        nodes = facts.devices(path)
    except OSError as error:
        raise Invalid(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if len(nodes) != 1:
        raise Invalid(f"{path}: not a device")
    return {"major": nodes[0].major, "minor": nodes[0].minor, **value}
