"""What package managers know of a stage's tree, asked of a confined process (`corten.supervisor.packages`)."""

from __future__ import annotations

import asyncio

import msgspec

from corten.build.work.rooms import Rooms, collected
from corten.spec.packages.package import Distribution, Inventory, Package

_Head = tuple[Distribution, list[str]]


async def packages(rooms: Rooms, top: str | None) -> Inventory:
    """`top` is the name of the topmost tree, None for no files at all."""
    if top is None:
        return Inventory(Distribution(), [], [])
    request = {"do": "step packages", "tree": rooms.trees.view(top)[0].entry()}
    async with rooms.steps.stream(request, []) as streamed:
        data = await collected(streamed)
    return await asyncio.to_thread(_decoded, data)


def _decoded(data: bytes) -> Inventory:
    head, *lines = data.splitlines()
    distribution, unread = msgspec.json.decode(head, type=_Head)
    decoder = msgspec.json.Decoder(Package)
    return Inventory(distribution, [decoder.decode(line) for line in lines], unread)
