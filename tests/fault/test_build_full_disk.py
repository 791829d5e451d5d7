"""Steps of builds on a disk without a free byte: one error, nothing left, and everything works afterwards."""

from __future__ import annotations

import os
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from build_world import BuildWorld
from corten.build.contract import Matched, StepFailed
from corten.errors import CortenError
from image_parts.disks import fill, small_disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the runtime needs root")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BuildWorld]:
    with small_disk(tmp_path / "d", 40):
        world = BuildWorld(tmp_path)
        try:
            yield world
        finally:
            world.close()


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


async def tar(name: str, size: int) -> AsyncIterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = size
    yield info.tobuf()
    for at in range(0, size, 1 << 20):
        yield os.urandom(min(1 << 20, size - at))
    yield bytes(-size % 512 + 1024)


def test_a_cache_mount_that_is_imported(world: BuildWorld) -> None:
    """What is there stays, and nothing of what did not fit."""
    archives, place = world.work.cache_mounts(), world.data / "build" / "cache"

    def seed(id: str, size: int, replace: bool = False) -> None:
        world.do(archives.seed(id, tar("file", size), replace))

    def there() -> list[tuple[str, int]]:
        return [(cache.id, cache.bytes) for cache in world.do(archives.every())]

    seed("kept", 10_000)
    before = sorted(path.relative_to(place) for path in place.rglob("*"))
    for id in ("kept", "other"):
        with pytest.raises(CortenError, match=r"(?i)no space left"):
            seed(id, 60 << 20, replace=True)
        assert there() == [("kept", 10_000)]
        assert sorted(path.relative_to(place) for path in place.rglob("*")) == before
    fill(world.data / "filling")
    with pytest.raises(CortenError, match=r"(?i)no space left"):
        seed("other", 10_000)
    (world.data / "filling").unlink()
    assert there() == [("kept", 10_000)]
    assert sorted(path.relative_to(place) for path in place.rglob("*")) == before
    seed("other", 20_000)
    seed("kept", 30_000, replace=True)
    assert sorted(there()) == [("kept", 30_000), ("other", 20_000)]
