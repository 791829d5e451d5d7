"""Workers that read nothing, or answer nothing: an image fails, others are unpacked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corten.errors import Unavailable
from corten.images import pump, unpack
from image_parts import tars
from image_parts.stores import Store
from image_parts.workers import ForkWorkers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")
LAYERS = {
    "reads nothing": tars.archive(tars.file("large", bytes(4 << 20))),
    "answers nothing": tars.archive(tars.file("small", b"x")),
}


class Silent(ForkWorkers):
    """The first ones keep what they are given."""

    def __init__(self, many: int, patience: Callable[[float], None]) -> None:
        self.left, self._patience = many, patience

    async def unpack(self, tree: Path, source_fd: int) -> dict[str, Any]:
        if not self.left:
            self._patience(60)  # this one does answer, when it has begun
            return await super().unpack(tree, source_fd)
        self.left -= 1
        held = os.dup(source_fd)
        try:
            never: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            return await never
        finally:
            os.close(held)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
async def test_silent_workers_give_their_turns_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: bytes
) -> None:
    def patience(seconds: float) -> None:
        for module in (pump, unpack):
            monkeypatch.setattr(module, "SILENCE", seconds)

    patience(0.3)
    store = Store(tmp_path / "root", Silent(unpack.UNPACKS, patience))
    before = len(os.listdir("/proc/self/fd"))
    blob = store.blobs.put(layer)
    unpacker = store.images.store.unpacker
    try:
        turns = [unpacker.unpack(blob, None, lambda done: None) for _ in range(unpack.UNPACKS)]
        failed = await asyncio.wait_for(asyncio.gather(*turns, return_exceptions=True), 20)
        assert [type(error) for error in failed] == [Unavailable] * unpack.UNPACKS
        store.trees.tree_store.drain()  # what was begun is erased, by a thread that opens what it erases
        assert len(os.listdir("/proc/self/fd")) <= before + 1  # and keeps the trash's directory
        done = await asyncio.wait_for(unpacker.unpack(blob, None, lambda done: None), 20)
        store.trees.discard(done.draft)
    finally:
        await store.close()
