"""POST /containers/ID/update: limits, published ports, the restart policy, at once where the container runs."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from corten.aio.threads import answered
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.network import change_rate
from corten.engine.containers.ports import republish
from corten.errors import Conflict, NotFound
from corten.plan.isolation import facts_for
from corten.plan.update import update_resources
from corten.spec.docker.host_config import UpdateConfig


async def update(containers: Containers, container: Container, body: UpdateConfig) -> list[str]:
    """Warnings. Invalid for limits that cannot be; what is absent or zero stays as it is, as Docker has it."""
    async with container.lock:
        record = container.record
        facts = facts_for(record.host_config, containers.configuration.facts)
        if container.gone or record.state.status in ("removing", "dead"):
            raise Conflict(f"container {container.id} is marked for removal and cannot be updated")
        check = partial(update_resources, record.host_config, body, facts, container.id)
        _, resources, _ = await answered(check, "a device")  # which it may name
        await republish(containers, container, body)
        if body.net_rate is not None:
            await change_rate(containers, container, body.net_rate)
        check = partial(update_resources, record.host_config, body, facts, container.id)
        host, _, warnings = await answered(check, "a device")
        if resources and container.task is not None:
            with suppress(Conflict, NotFound):  # it has ended: its next run has them
                await container.task.update(resources)
        record.host_config = host
        containers.save(container)
        containers.publish(container, "update")
        return warnings
