"""Removing containers that a client names, or that match its filters."""

from __future__ import annotations

from corten.engine.containers import files as container_files
from corten.engine.containers import removal, stop
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.sizes import tree_size
from corten.errors import Conflict, CortenError, NotFound
from corten.spec.docker import times
from corten.spec.docker.filters import Filters

_PRUNE_KEYS = frozenset({"until", "label", "label!"})


async def remove(containers: Containers, container: Container, force: bool = False, volumes: bool = False) -> None:
    """Conflict while it runs (unless `force`) or while another removal is under way."""
    if container.record.state.status == "removing":
        raise Conflict(f"removal of container {container.record.name} is already in progress")
    while True:
        if container.record.state.running:
            if not force:
                raise Conflict(_still_runs(container))
            await stop.kill_for_removal(containers, container)
        async with stop.lock_for_removal(containers, container) if force else container.lock:
            if container.gone and force:  # --rm has removed it, once it was killed
                return
            if container.gone:
                raise NotFound(f"No such container: {container.id}")
            if not container.record.state.running:  # or its start was completed meanwhile
                await removal.remove_locked(containers, container, volumes)
                return


async def remove_link(containers: Containers, reference: str) -> None:
    """Take the link "app/alias" away. NotFound; Conflict for what is a container's own name or id."""
    parent, alias = containers.link_of(reference)
    if parent is None:
        containers.get(reference)
        raise Conflict("Conflict, cannot remove the default link name of the container")
    async with parent.lock:
        if parent.gone:
            raise NotFound(f"No such container: {parent.id}")
        before = parent.record.links
        containers.link(parent, {name: id for name, id in before.items() if name != alias})
        try:
            containers.save(parent)
        except BaseException:
            containers.link(parent, before)
            raise
        if parent.record.state.has_task:
            await container_files.rewrite_network(containers, [parent])


def _still_runs(container: Container) -> str:
    name, status = container.record.name, container.status
    remedy = "stop the container before removing or force remove"
    if status == "paused":
        remedy = "unpause and stop the container before removing or force remove"
    return f'cannot remove container "/{name}": container is {status}: {remedy}'


async def prune(containers: Containers, filters: Filters, until: int) -> tuple[list[str], int]:
    """Remove every container that does not run and matches. Their ids, and the bytes that their trees held.

    `until` is nanoseconds since the epoch, 0 for no limit: only containers that were created before it.
    """
    filters.check(_PRUNE_KEYS)
    removed, freed = [], 0
    for container in list(containers.by_id.values()):
        record = container.record
        if record.state.running or record.state.status == "removing" or (until and record.created >= until):
            continue
        if not filters.match_labels("label", record.labels) or filters.excludes_labels("label!", record.labels):
            continue
        size = await tree_size(containers.stores.snapshots, container)
        try:
            await remove(containers, container)
        except CortenError:  # it was started or removed since we looked
            continue
        removed.append(record.id)
        freed += max(0, size)
    containers.events.publish("container", "prune", "", {"reclaimed": str(freed)})
    return removed, freed


def until_of(filters: Filters) -> int:
    """The filter `until` as nanoseconds since the epoch; 0 when there is none. Invalid."""
    text = filters.one("until")
    return times.parse_time(text) if text else 0
