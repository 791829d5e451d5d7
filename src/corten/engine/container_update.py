"""POST /containers/ID/update: limits and the restart policy, at once where the container runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corten.engine import records
from corten.engine.container import Container
from corten.engine.oci_resources import resources
from corten.engine.seams import Json
from corten.engine.validate import check_update
from corten.errors import Conflict

if TYPE_CHECKING:
    from corten.engine.containers import Containers

RESOURCES = frozenset(
    ("BlkioWeight", "CpuShares", "CpuPeriod", "CpuQuota", "CpuRealtimePeriod", "CpuRealtimeRuntime", "CpusetCpus")
    + ("CpusetMems", "Memory", "MemoryReservation", "MemorySwap", "NanoCpus", "PidsLimit", "KernelMemory")
)


async def update(containers: Containers, container: Container, body: Json) -> list[str]:
    """Warnings. Invalid for limits that cannot be; what is absent or zero stays as it is, as Docker has it."""
    async with container.lock:
        if container.gone or container.record.state.status in ("removing", "dead"):
            raise Conflict(f"container {container.id} is marked for removal and cannot be updated")
        asked = {key: value for key, value in body.items() if key in RESOURCES and value}
        policy = body.get("RestartPolicy") or {}
        host = {**container.record.host_config, **asked}
        if policy.get("Name"):
            host["RestartPolicy"] = {
                "Name": policy["Name"],
                "MaximumRetryCount": policy.get("MaximumRetryCount") or 0,
            }
        facts = containers.parts.facts
        warnings = check_update(container.record.host_config, body, facts)
        if asked and container.task is not None:
            await container.task.update(resources({**dict.fromkeys(RESOURCES), **asked}, facts))
        container.record.host_config = host
        records.save(containers.parts.table, container.record)
        containers.parts.events.publish("container", "update", container.id, container.attributes())
        return warnings
