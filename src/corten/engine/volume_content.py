"""A volume that a container is the first to use begins with what the image has at its place."""

from __future__ import annotations

import os
from pathlib import Path

from corten.engine.containers.container import Container
from corten.engine.oci.namespaces import remapped
from corten.engine.parts import Parts


async def fill_volumes(parts: Parts, container: Container) -> None:
    """Copy into each empty volume of a new container, unless "nocopy" was said or it is borrowed from another one."""
    inside = remapped(container.record.host_config, parts.facts)
    maps = (parts.facts.uid_map, parts.facts.gid_map) if inside else ((), ())
    for point in container.record.mounts:
        if point.type != "volume" or point.nocopy or point.subpath:
            continue
        async with parts.volumes.filling:
            if not _empty(point.source):
                continue
            rootfs = parts.snapshots.mounts(container.id)
            await parts.copy_up(Path(point.source), rootfs, point.destination, *maps)


def _empty(directory: str) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None
