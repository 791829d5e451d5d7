"""What containers hold on the disk. Everything here walks trees, in threads."""

from __future__ import annotations

import asyncio
import logging

from corten.aio.threads import to_walk_thread
from corten.engine.containers.container import Container
from corten.engine.containers.stores import Stores
from corten.errors import NotFound
from corten.snapshots.contract import Snapshots
from corten.snapshots.guest_disks import allocated
from corten.spec.json import Json

log = logging.getLogger(__name__)


async def sizes(stores: Stores, container: Container) -> Json:
    """SizeRw and SizeRootFs, bytes. What cannot be counted is -1, as in dockerd: one container's tree must not fail an
    answer about all."""
    own = await tree_size(stores.snapshots, container)
    if own >= 0:
        own += await asyncio.to_thread(allocated, stores.bundle(container.id))
    return {"SizeRw": own, "SizeRootFs": max(0, own) + _image_size(stores, container.record.image_id)}


def _image_size(stores: Stores, id: str) -> int:
    try:
        return stores.images.resolve(id).size
    except NotFound:
        return 0


async def tree_size(snapshots: Snapshots, container: Container) -> int:
    """Bytes of what a container wrote; -1 when that cannot be counted."""
    try:
        return (await to_walk_thread(snapshots.usage, container.id)).bytes
    except (NotFound, OSError) as error:
        if not container.gone:
            log.warning("cannot count what container %s wrote: %s", container.id, error)
        return -1
