"""A volume that a container is the first to use begins with what the image has at its place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from corten.engine.containers import mounts
from corten.engine.containers.container import Container
from corten.engine.containers.stores import Stores
from corten.plan.facts import HostFacts, MountPoint
from corten.plan.namespaces import remapped
from corten.spec.mounts import Mount

_IN_MEMORY = ("tmpfs", "ramfs")


async def fill_volumes(stores: Stores, facts: HostFacts, container: Container) -> None:
    """Copy into each empty volume of a new container, unless "nocopy" was said or it is borrowed from another one.

    Whichever way it has them, none of them is half filled when it starts.
    """
    for point in container.record.mounts:
        if point.type != "volume":
            continue
        copy_up = partial(_copy_up, stores, facts, container, point)
        if point.nocopy or point.subpath:
            await stores.volumes.filled(point.name)
        elif stores.volumes.get(point.name).mounted:
            await _fill_mounted(stores, point, copy_up)
        else:
            await stores.volumes.fill(point.name, container.id, copy_up)


async def _fill_mounted(stores: Stores, point: MountPoint, copy_up: Callable[[Mount], Awaitable[bool]]) -> None:
    """A file system that is kept, or that another container has: one in memory that is mounted for this alone would be
    gone with its content."""
    volumes = stores.volumes
    async with AsyncExitStack() as held:
        found = await mounts.mounted(stores, [replace(point, rw=True)], held)
        if volumes.where_mounted(point.name) or volumes.get(point.name).options["type"] not in _IN_MEMORY:
            await copy_up(found[point.destination])


async def _copy_up(
    stores: Stores, facts: HostFacts, container: Container, point: MountPoint, place: Path | Mount
) -> bool:
    maps = (facts.uid_map, facts.gid_map) if remapped(container.record.host_config, facts) else ((), ())
    return await stores.copy_up(place, stores.snapshots.mounts(container.id), point.destination, *maps)
