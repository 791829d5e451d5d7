"""What the runtime mounts for a container beside directories: volumes that are file systems, and images."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from corten.engine.containers.container import Container
from corten.engine.containers.stores import Stores
from corten.engine.subpaths import inside
from corten.engine.volumes import Place, Volume, Volumes
from corten.errors import Invalid, NotFound, Unavailable
from corten.plan.facts import MountPoint
from corten.runtime.host_mounts import HOST, MOUNT, SUBPATH, TREE
from corten.spec.mounts import Mount
from corten.tasks.contract import Task

_BY_ADDRESS = ("nfs", "nfs4", "cifs")
_RESOLVE = 10.0  # seconds


async def mounted(stores: Stores, points: Sequence[MountPoint], held: AsyncExitStack) -> dict[str, Mount]:
    """Mounts by their destination. `held` keeps others from mounting the same volumes until the container has them.

    Raises Invalid, NotFound for an image that was removed, Unavailable.
    """
    found: dict[str, Mount] = {}
    names = sorted({point.name for point in points if _is_mounted(stores.volumes, point)})
    for name in names:
        await held.enter_async_context(stores.volumes.lock(name))
    for point in points:
        if point.type == "image":
            found[point.destination] = await _image(stores, point, held)
        elif point.name in names:
            found[point.destination] = await _volume(stores.volumes, point)
    return found


def those(points: Sequence[MountPoint], mounted: Mapping[str, Mount]) -> list[MountPoint]:
    return [point for point in points if point.destination in mounted]


async def number(volumes: Volumes, container: Container, task: Task) -> None:
    """Which mounts its volumes are, before its program runs, which may change what is found at their places."""
    container.record.volume_mounts = {
        point.name: await task.mount_number(point.destination)
        for point in container.record.mounts
        if _is_mounted(volumes, point) and not point.subpath
    }


def note(volumes: Volumes, container: Container, task: Task, stack: AsyncExitStack) -> None:
    """Other containers find the volumes of this one where it has them, as long as it runs."""
    for point in container.record.mounts:
        if point.name in container.record.volume_mounts and not point.subpath:
            place = Place(f"{task.root()}{point.destination}", container.record.volume_mounts[point.name])
            volumes.has_mounted(point.name, container.id, place)
            stack.callback(volumes.has_unmounted, point.name, container.id)


def _is_mounted(volumes: Volumes, point: MountPoint) -> bool:
    try:
        return point.type == "volume" and volumes.get(point.name).mounted
    except NotFound:
        return False


async def _image(stores: Stores, point: MountPoint, held: AsyncExitStack) -> Mount:
    chain = stores.images.resolve(point.source).chain_id
    if chain is None:
        raise Invalid(f"image {point.name} has no file system to mount")
    (tree,) = stores.snapshots.view(chain)
    if tree.type != "bind":
        return tree._replace(options=(TREE, *tree.options, *_inside(point)))
    if point.subpath:
        tree = tree._replace(source=(await inside(replace(point, source=tree.source), held)).source)
    return tree._replace(options=("rbind", "rprivate"))


async def _volume(volumes: Volumes, point: MountPoint) -> Mount:
    """Where another container has it, it is that one's: two of a file system in memory would be two."""
    volume = volumes.get(point.name)
    if (there := volumes.where_mounted(point.name)) and not point.subpath:
        words = ("bind", "rprivate", f"{MOUNT}{there.mount}", *(("rw",) if point.rw else ()))
        return Mount("bind", there.path, point.destination, words)
    words = await _resolved(volume)
    return Mount(volume.options["type"], volume.options["device"], point.destination, (HOST, *words, *_inside(point)))


def _inside(point: MountPoint) -> tuple[str, ...]:
    return (SUBPATH + point.subpath,) if point.subpath else ()


async def _resolved(volume: Volume) -> tuple[str, ...]:
    """The kernel takes no names of hosts, so `addr=` is looked up, as dockerd does."""
    if volume.options["type"] not in _BY_ADDRESS:
        return volume.words
    return tuple([f"addr={await _address(word[5:])}" if word.startswith("addr=") else word for word in volume.words])


async def _address(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        look = asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        found = await asyncio.wait_for(look, _RESOLVE)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"error resolving passed in network volume address {host}: {error}") from error
    return str(found[0][4][0])
