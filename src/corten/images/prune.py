"""Removing the images that no container uses."""

from __future__ import annotations

import asyncio

from corten.errors import CortenError
from corten.images.images import Images
from corten.spec.docker.filters import Filters
from corten.spec.json import Json


async def prune(images: Images, filters: Filters, dangling: bool) -> tuple[list[Json], int]:
    """Only those without a name, when `dangling`. The rows of their removal, and the bytes that were freed."""
    others = {key: values for key, values in filters.items() if key != "dangling"}
    chosen = Filters({**others, "dangling": ["true"]} if dangling else others)
    removed: list[Json] = []
    before = images.layers_size()
    for image in await asyncio.to_thread(images.list, chosen):
        if images.in_use(image["Id"]):
            continue
        try:
            removed += await images.remove(image["Id"], force=True)
        except CortenError:  # it has come into use, or was removed, meanwhile
            continue
    freed = max(0, before - images.layers_size())
    images.publish("prune", "", {"reclaimed": str(freed)})
    return removed, freed
