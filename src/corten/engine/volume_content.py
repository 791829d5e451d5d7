"""A volume that a container is the first to use begins with what the image has at its place."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from corten.engine.containers.container import Container
from corten.engine.parts import Parts
from corten.plan.facts import MountPoint
from corten.plan.namespaces import remapped


async def fill_volumes(parts: Parts, container: Container) -> None:
    """Copy into each empty volume of a new container, unless "nocopy" was said or it is borrowed from another one.

    Whichever way it has them, none of them is half filled when it starts.
    """
    for point in container.record.mounts:
        if point.type != "volume":
            continue
        if point.nocopy or point.subpath:
            await parts.volumes.filled(point.name)
        else:
            await parts.volumes.fill(point.name, container.id, partial(_copy_up, parts, container, point))


async def _copy_up(parts: Parts, container: Container, point: MountPoint, directory: Path) -> bool:
    inside = remapped(container.record.host_config, parts.facts)
    maps = (parts.facts.uid_map, parts.facts.gid_map) if inside else ((), ())
    return await parts.copy_up(directory, parts.snapshots.mounts(container.id), point.destination, *maps)
