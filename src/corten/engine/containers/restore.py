"""The daemon's start: running containers are adopted, ends are recorded, removals are completed, and what restart
policies ask for is started."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from corten.engine.containers import boot_order, lifecycle, links, parents, pause, records, removal, restarts, run
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.restarts import Restart
from corten.errors import CortenError, Invalid, NotFound
from corten.plan.namespaces import joins
from corten.tasks.contract import Exit

log = logging.getLogger(__name__)


async def restore(containers: Containers) -> None:
    """Once, before any other verb. A container that cannot be restored is an error in the log."""
    found, broken = records.load(containers.table)
    for error in broken:
        log.error("%s", error)
    for record in found:
        containers.add(Container(record, containers.stores.bundle(record.id)))
        for point in record.mounts:
            if point.type == "volume":
                containers.stores.volumes.hold(point.name, record.id)
    for container in containers.joining.values():
        _find_sandbox(containers, container)
    for container in containers.by_id.values():
        _find_links(containers, container)
    every = list(containers.by_id.values())
    adopted: dict[Container, bool] = {}
    with_task = [container for container in every if container.record.state.has_task]
    await asyncio.gather(*(_one(container, partial(_adopt, containers, container, adopted)) for container in with_task))
    # Only now: what an end or a start does in a network depends on which other containers are in it.
    starting: dict[Container, Restart | None] = {}
    await asyncio.gather(
        *(_one(container, partial(_go_on, containers, container, adopted, starting)) for container in every)
    )
    order = boot_order.order(containers, list(starting))
    for container, held in starting.items():
        if held is not None:
            lifecycle.start_behind(
                containers, container, held, boot_order.reached(containers, container, order[container])
            )
    parents.remove_unused(containers)


def _find_sandbox(containers: Containers, container: Container) -> None:
    """Records of version 0.1.0 do not say in whose network a container runs."""
    record = container.record
    if record.sandbox or not record.state.has_task:
        return
    with suppress(NotFound, Invalid):
        owner = container
        while name := joins(owner.record.host_config.network_mode):
            owner = containers.get(name)
        record.sandbox = owner.id


def _find_links(containers: Containers, container: Container) -> None:
    """Records of version 0.1.0 have links by name."""
    host = container.record.host_config
    if not host.links:
        return
    container.record.host_config = host.replace(links=None)
    found: dict[str, str] = {}
    for text in host.links:
        with suppress(NotFound, Invalid):  # it is gone
            found |= {**links.resolve(containers, host.replace(links=[text])), **found}
    containers.link(container, found)


async def _one(container: Container, step: Callable[[], Awaitable[None]]) -> None:
    try:
        async with container.lock:
            await step()
    except (CortenError, OSError) as error:
        log.error("container %s could not be restored: %s", container.id, error)
    except Exception:  # a defect that one container's state brings out must not keep all others from their daemon
        log.exception("container %s could not be restored", container.id)


async def _adopt(containers: Containers, container: Container, adopted: dict[Container, bool]) -> None:
    adopted[container] = await run.adopt(containers, container)
    if adopted[container]:
        await pause.thaw_unrecorded(container)


async def _go_on(
    containers: Containers,
    container: Container,
    adopted: dict[Container, bool],
    starting: dict[Container, Restart | None],
) -> None:
    """A running task is kept; one that ended meanwhile is ended here, with what its supervisor wrote down. `starting`
    gets what is started, and what holds it back if others go first."""
    if container in adopted:
        if adopted[container]:
            lifecycle.keep(containers, container)  # first: nothing that goes wrong now leaves it without its end
            await run.complete_adoption(containers, container)
            containers.execs.adopt(container)
        else:
            decision = await lifecycle.end_run_locked(containers, container, _lost())
            if isinstance(decision, Restart) and container.record.host_config.start_after:
                starting[container] = lifecycle.hold(container)
                return
            if isinstance(decision, Restart):
                starting[container] = None
            lifecycle.keep_ended(containers, container, decision)
        return
    status = container.record.state.status
    if status == "removing":
        await removal.remove_locked(containers, container, volumes=False)
    elif status == "exited" and container.record.host_config.auto_remove:  # its removal failed, or its restart
        await removal.remove_locked(containers, container, volumes=True)
    elif status == "restarting" or restarts.starts_with_daemon(container.record):
        starting[container] = _start(containers, container)


def _start(containers: Containers, container: Container) -> Restart | None:
    if not container.record.host_config.start_after:
        lifecycle.start_soon(containers, container)
        return None
    container.record.state.status = "restarting"  # what it is, and what a client can stop
    containers.save(container)
    return lifecycle.hold(container)


def _lost() -> Exit:
    """Its supervisor left no trace, as after a reboot."""
    return Exit(137, time.time(), error="the end of this run was not seen: its supervisor is gone")
