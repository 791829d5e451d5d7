"""A volume that a container is the first to use begins with what the image has at its place."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from corten.engine.containers.container import Container
from corten.engine.containers.stores import Stores
from corten.plan.facts import HostFacts, MountPoint
from corten.plan.namespaces import remapped


async def fill_volumes(stores: Stores, facts: HostFacts, container: Container) -> None:
    """Copy into each empty volume of a new container, unless "nocopy" was said or it is borrowed from another one.

    Whichever way it has them, none of them is half filled when it starts.
    """
    for point in container.record.mounts:
        if point.type != "volume":
            continue
        if point.nocopy or point.subpath or stores.volumes.get(point.name).mounted:
            await stores.volumes.filled(point.name)
        else:
            await stores.volumes.fill(point.name, container.id, partial(_copy_up, stores, facts, container, point))


async def _copy_up(stores: Stores, facts: HostFacts, container: Container, point: MountPoint, directory: Path) -> bool:
    maps = (facts.uid_map, facts.gid_map) if remapped(container.record.host_config, facts) else ((), ())
    return await stores.copy_up(directory, stores.snapshots.mounts(container.id), point.destination, *maps)
