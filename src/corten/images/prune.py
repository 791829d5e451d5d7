"""Removing the images that no container uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from corten.errors import CortenError
from corten.images.images import Images
from corten.spec.docker.filters import Filters
from corten.spec.json import Json
from corten.spec.reference import familiar


async def prune(
    images: Images, filters: Filters, dangling: bool, used: Callable[[str], Sequence[str]]
) -> tuple[list[Json], int]:
    """Only those without a name, when `dangling`; otherwise also the names of those in use, but for one of each. The
    rows of their removal, and the bytes that were freed. `used`: by which references containers were made of an image.
    """
    others = {key: values for key, values in filters.items() if key != "dangling"}
    chosen = Filters({**others, "dangling": ["true"]} if dangling else others)
    removed: list[Json] = []
    before = images.layers_size()
    for image in await asyncio.to_thread(images.list, chosen):
        in_use = images.in_use(image["Id"])
        names = [image["Id"]] if not in_use else [] if dangling else _spare_first(image, used(image["Id"]))
        for name in names:
            try:
                removed += await images.remove(name, force=not in_use)
            except CortenError:  # it is in use, or has come into use or was removed meanwhile
                continue
    freed = max(0, before - images.layers_size())
    images.publish("prune", "", {"reclaimed": str(freed)})
    return removed, freed


def _spare_first(image: Json, used: Sequence[str]) -> list[str]:
    """Its names: last, and so what stays, one that a container was made by."""
    kept = {familiar(reference) for reference in used}
    return sorted([*image["RepoTags"], *image["RepoDigests"]], key=lambda name: name in kept)
