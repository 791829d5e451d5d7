"""Taking a container away, its writable tree, bundle and anonymous volumes with it."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from corten.aio.threads import settling
from corten.engine.containers import parents, records
from corten.engine.containers import stop as container_stop
from corten.engine.containers.container import Container
from corten.engine.containers.create import let_go_volumes
from corten.engine.containers.list import tree_size
from corten.errors import Conflict, CortenError, Invalid, NotFound
from corten.spec.docker import times
from corten.spec.docker.filters import Filters
from corten.tasks.contract import Exit

if TYPE_CHECKING:
    from corten.engine.containers.containers import Containers

_PRUNE_KEYS = frozenset({"until", "label", "label!"})


async def remove(
    containers: Containers, container: Container, force: bool = False, volumes: bool = False, link: bool = False
) -> None:
    """Conflict while it runs (unless `force`) or while another removal is under way, Invalid for links."""
    if link:
        raise Invalid(f"cannot remove link {container.record.name}: this engine has no links between containers")
    state = container.record.state
    if state.status == "removing":
        raise Conflict(f"removal of container {container.record.name} is already in progress")
    if state.running:
        if not force:
            raise Conflict(_still_runs(container))
        await container_stop.kill_for_removal(containers, container)
    async with container.lock:
        if container.gone and force:  # --rm was quicker than we, once it was killed
            return
        if container.gone:
            raise NotFound(f"No such container: {container.id}")
        if container.record.state.running:
            raise Conflict(_still_runs(container))
        await remove_locked(containers, container, volumes)


def _still_runs(container: Container) -> str:
    name, status = container.record.name, container.record.state.status
    remedy = "stop the container before removing or force remove"
    if status == "paused":
        remedy = "unpause and stop the container before removing or force remove"
    return f'cannot remove container "/{name}": container is {status}: {remedy}'


async def remove_ended(containers: Containers, container: Container) -> None:
    """--rm: anonymous volumes go as well. Nothing happens when a client removed it first."""
    async with container.lock:
        if container.gone or container.record.state.running:
            return
        try:
            await remove_locked(containers, container, volumes=True)
        except BaseException as error:
            container.wake(Exit(container.record.state.exit_code, time.time(), error=str(error)), "removed")
            raise


async def remove_locked(containers: Containers, container: Container, volumes: bool) -> None:
    """The record goes last, so that an interrupted removal is seen and completed at the next start of the daemon."""
    parts, record = containers.parts, container.record
    exit_code, before = record.state.exit_code, record.state.status
    record.state.status = "removing"
    try:
        records.save(parts.table, record)
    except CortenError:
        record.state.status = before  # it can be tried again
        raise
    let_go_volumes(parts, container, anonymous_volumes=volumes)
    container.close_pending()
    container.gone = True
    containers.drop(container)
    parts.changing.spawn(_erase(containers, container), f"erasing container {container.id}")
    parts.events.publish("container", "destroy", container.id, container.attributes())
    container.wake(Exit(exit_code, time.time()), "not-running", "next-exit", "removed")


async def _erase(containers: Containers, container: Container) -> None:
    """Behind the answer: nobody can name the container any more."""
    parts = containers.parts
    await container.settled()
    if container.record.host_config.cgroup_parent:
        parents.let_go(containers)
    parts.snapshots.remove(container.id)
    await asyncio.to_thread(_remove_bundle, container.bundle)
    records.forget(parts.table, container.id)
    try:
        parts.images.resolve(container.record.image_id)
    except NotFound:
        await settling(parts.images.collect)


def _remove_bundle(bundle: Path) -> None:
    """A handful of files. OSError when they cannot be removed: the record stays, and the next daemon tries again."""
    try:
        for name in os.listdir(bundle):
            os.unlink(bundle / name)
        bundle.rmdir()
    except FileNotFoundError:
        return
    except OSError:
        shutil.rmtree(bundle)


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
        size = await tree_size(containers.parts.snapshots, container)
        try:
            await remove(containers, container)
        except CortenError:  # it was started or removed since we looked
            continue
        removed.append(record.id)
        freed += max(0, size)
    containers.parts.events.publish("container", "prune", "", {"reclaimed": str(freed)})
    return removed, freed


def until_of(filters: Filters) -> int:
    """The filter `until` as nanoseconds since the epoch; 0 when there is none. Invalid."""
    text = filters.one("until")
    return times.parse_time(text) if text else 0
