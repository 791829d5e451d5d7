"""Verbs of images that look at containers as well: commit, prune, and what df says of them."""

from __future__ import annotations

import asyncio
from collections import Counter

from corten.engine.containers import pause
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.tree import ContainerTrees
from corten.errors import CortenError
from corten.images.commit import Request
from corten.spec.docker.filters import Filters
from corten.spec.json import Json


async def commit(containers: Containers, trees: ContainerTrees, container: Container, wanted: Request) -> str:
    """An image of what the container is now; its id. The container is paused meanwhile if `wanted` says so.

    Raises Invalid for a name or a change that cannot be, Conflict when the container's image is gone.
    """
    record, parts = container.record, containers.parts
    async with pause.still(containers, container, wanted.pause) as go_on, trees.layer(container) as layer:
        id = await parts.images.commit(record.image_id, layer, wanted, record.config, go_on)
    name = f"{wanted.repo}:{wanted.tag or 'latest'}" if wanted.repo else ""
    attributes = container.attributes(comment=wanted.comment, imageID=id, imageRef=name)
    parts.events.publish("container", "commit", container.id, attributes)
    return id


async def prune(containers: Containers, filters: Filters, dangling: bool) -> tuple[list[Json], int]:
    """Remove the images that no container uses: only those without a name, when `dangling`. The rows of their removal,
    and the bytes that were freed."""
    images = containers.parts.images
    others = {key: values for key, values in filters.items() if key != "dangling"}
    chosen = Filters({**others, "dangling": ["true"]} if dangling else others)
    removed: list[Json] = []
    before = images.layers_size()
    for image in await asyncio.to_thread(images.list, chosen):
        if containers.of_image(image["Id"]):
            continue
        try:
            removed += await images.remove(image["Id"], force=True)
        except CortenError:  # it has come into use, or was removed, meanwhile
            continue
    freed = max(0, before - images.layers_size())
    containers.parts.events.publish("image", "prune", "", {"reclaimed": str(freed)})
    return removed, freed


async def usage(containers: Containers) -> tuple[int, list[Json]]:
    """LayersSize and the images of GET /system/df."""
    images = containers.parts.images
    rows = await asyncio.to_thread(images.list, None, True, True)
    users = Counter(container.record.image_id for container in containers.by_id.values())
    return images.layers_size(), [{**row, "Containers": users[row["Id"]]} for row in rows]
