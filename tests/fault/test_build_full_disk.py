"""Steps of builds on a disk without a free byte: one error, nothing left, and everything works afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_world import BuildWorld
from corten.build.contract import Matched, StepFailed
from corten.errors import CortenError
from image_parts.disks import small_disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the runtime needs root")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BuildWorld]:
    with small_disk(tmp_path / "d", 40):
        world = BuildWorld(tmp_path)
        try:
            yield world
        finally:
            world.close()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def test_on_a_full_disk(world: BuildWorld) -> None:
    tree = world.context("large")
    (tree.directory / "f").write_bytes(os.urandom(30 << 20))
    before = len(list(world.store.blobs.list()))
    with pytest.raises(CortenError, match=r"(?i)no space left"):
        world.copy(Matched(tree, ("f",)), target="/f")
    with pytest.raises(StepFailed):
        world.run("head -c 60000000 /dev/urandom > /f")
    world.work.rooms.trees.tree_store.drain()
    assert world.left() == []
    assert len(list(world.store.blobs.list())) == before
    assert list(world.store.blobs.parts()) == []
    fill(world.data / "filling")
    (tree.directory / "small").write_text("x" * 10_000)
    with pytest.raises((CortenError, StepFailed)):
        world.copy(Matched(tree, ("small",)), target="/f")
    with pytest.raises((CortenError, StepFailed)):
        world.run("head -c 10000 /dev/urandom > /f")
    (world.data / "filling").unlink()
    world.work.rooms.trees.tree_store.drain()
    assert world.left() == []
    assert world.run("echo works > /f")[0].blob is not None
    assert world.copy(Matched(tree, ("small",)), target="/f").blob is not None
