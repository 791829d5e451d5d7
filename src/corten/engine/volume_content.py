"""A volume that a container is the first to use begins with what the image has at its place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from corten.engine.containers.container import Container
from corten.engine.oci.facts import MountPoint
from corten.engine.oci.namespaces import remapped
from corten.engine.parts import Parts
from corten.errors import Invalid
from corten.kernel import paths


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


def with_subpaths(points: Sequence[MountPoint], held: AsyncExitStack) -> list[MountPoint]:
    """The same mounts, those of a directory inside a volume by a descriptor that `held` closes.

    A volume belongs to containers: a link that one of them has put there leads nowhere out of it.
    """
    return [_inside(point, held) if point.subpath else point for point in points]


def _inside(point: MountPoint, held: AsyncExitStack) -> MountPoint:
    top = os.open(point.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = paths.open_in(top, point.subpath)
    except OSError as error:
        raise Invalid(f"volume {point.name} has no {point.subpath!r} to mount: {error.strerror}") from error
    finally:
        os.close(top)
    held.callback(os.close, fd)
    return replace(point, source=f"/proc/{os.getpid()}/fd/{fd}")


def _empty(directory: str) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None
