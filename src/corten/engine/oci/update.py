"""`docker update`: other limits for a container that may be running."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corten.engine.oci.facts import HostFacts, Json
from corten.engine.oci.resources import resources
from corten.engine.validate.resources import check_resources, check_restart_policy
from corten.engine.validate.schema import check_update_types
from corten.errors import Conflict, Invalid

#: Fields that an update may change; of any other a running container only has what it was created with.
_FIELDS = (
    "CpuShares",
    "Memory",
    "NanoCpus",
    "BlkioWeight",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpusetCpus",
    "CpusetMems",
    "MemoryReservation",
    "MemorySwap",
)


def update_resources(
    host_config: Mapping[str, Any], body: Mapping[str, Any], facts: HostFacts, container_id: str = ""
) -> tuple[Json, Json, list[str]]:
    """(new HostConfig, OCI's linux.resources with only what changes, warnings).

    `body` is that of POST /containers/ID/update. A zero or an empty field means "leave it". Invalid when a value can
    never be; Conflict when it does not go with what the container has. Neither argument is changed.
    """
    check_update_types(body)
    policy = body.get("RestartPolicy") or {}
    check_restart_policy(policy)
    changes = {key: body[key] for key in _FIELDS if body.get(key)}
    if body.get("PidsLimit") is not None:
        changes["PidsLimit"] = body["PidsLimit"]
    warnings = check_resources(changes, facts, update=True)
    changes = _possible(changes, facts)
    try:
        _check_conflicts(host_config, changes, policy)
    except Conflict as error:
        raise Conflict(f"Cannot update container {container_id}: {error}") from error
    updated = {**host_config, **changes}
    if "PidsLimit" in changes and changes["PidsLimit"] <= 0:
        updated["PidsLimit"] = None
    if policy.get("Name"):
        updated["RestartPolicy"] = {"Name": policy["Name"], "MaximumRetryCount": policy.get("MaximumRetryCount") or 0}
    return updated, _changed(changes, facts), warnings


def _possible(changes: Json, facts: HostFacts) -> Json:
    """Without what this machine cannot do: the warnings have said so."""
    return {key: value for key, value in changes.items() if _CONTROL[key] in facts.controls}


_CONTROL = {
    "CpuShares": "cpu_shares",
    "Memory": "memory",
    "NanoCpus": "cpu_cfs",
    "BlkioWeight": "blkio_weight",
    "BlkioWeightDevice": "blkio_weight_device",
    "BlkioDeviceReadBps": "blkio_read_bps",
    "BlkioDeviceWriteBps": "blkio_write_bps",
    "BlkioDeviceReadIOps": "blkio_read_iops",
    "BlkioDeviceWriteIOps": "blkio_write_iops",
    "CpuPeriod": "cpu_cfs",
    "CpuQuota": "cpu_cfs",
    "CpuRealtimePeriod": "cpu_rt",
    "CpuRealtimeRuntime": "cpu_rt",
    "CpusetCpus": "cpuset",
    "CpusetMems": "cpuset",
    "MemoryReservation": "reservation",
    "MemorySwap": "swap",
    "PidsLimit": "pids",
}


def _check_conflicts(old: Mapping[str, Any], changes: Json, policy: Mapping[str, Any]) -> None:
    if policy.get("Name") not in (None, "", "no") and old.get("AutoRemove"):
        raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
    for new, kept, text in (
        ("NanoCpus", "CpuPeriod", "Nano CPUs cannot be updated as CPU Period has already been set"),
        ("NanoCpus", "CpuQuota", "Nano CPUs cannot be updated as CPU Quota has already been set"),
        ("CpuPeriod", "NanoCpus", "CPU Period cannot be updated as NanoCPUs has already been set"),
        ("CpuQuota", "NanoCpus", "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ):
        if changes.get(new) and old.get(kept):
            raise Conflict(f"Conflicting options: {text}")
    memory, swap = changes.get("Memory") or 0, changes.get("MemorySwap")
    if memory and not swap and memory > (old.get("MemorySwap") or 0):
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    limit = memory or old.get("Memory") or 0
    if swap and limit and 0 < swap < limit:
        raise Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")


def _changed(changes: Json, facts: HostFacts) -> Json:
    """A new memory limit alone leaves swap as it is, where at create it would set it to twice the limit."""
    result = resources(changes, facts)
    swap = changes.get("MemorySwap")
    if swap:
        result.setdefault("memory", {})["swap"] = swap
    elif "memory" in result:
        result["memory"].pop("swap", None)
    return result
