"""An image of what a container is now."""

from __future__ import annotations

from corten.engine.containers import pause
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.tree import ContainerTrees
from corten.images.commit import Request


async def commit(containers: Containers, trees: ContainerTrees, container: Container, wanted: Request) -> str:
    """Its id. The container is paused meanwhile if `wanted` says so.

    Raises Invalid for a name or a change that cannot be, Conflict when the container's image is gone.
    """
    record, images = container.record, containers.stores.images
    async with pause.still(containers, container, wanted.pause) as go_on, trees.layer(container) as layer:
        id = await images.commit(record.image_id, layer, wanted, record.config, go_on)
    name = f"{wanted.repo}:{wanted.tag or 'latest'}" if wanted.repo else ""
    containers.publish(container, "commit", comment=wanted.comment, imageID=id, imageRef=name)
    return id
