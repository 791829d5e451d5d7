"""What builds need of a worker (`corten.build.contract.Worker`), of the real one and of `fakes.worker`."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from build_world import BuildWorld, NoClient
from corten.build.contract import CopyStep, Layer, Matched, RunStep, SourceTree, StageTree, StepFailed, Worker
from corten.errors import NotFound
from corten.images.store import ImageStore
from corten.spec.oci_image import chain_ids
from fakes.images import keep_image
from fakes.worker import FakeWorker
from image_parts.stores import Store

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the runtime needs root")
T = TypeVar("T")


class World(Protocol):
    """`base` are the diff ids that steps begin with."""

    @property
    def worker(self) -> Worker: ...

    @property
    def base(self) -> tuple[str, ...]: ...

    @property
    def store(self) -> ImageStore: ...

    def do(self, work: Coroutine[Any, Any, T]) -> T: ...

    def close(self) -> None: ...


class FakeWorld:
    def __init__(self, root: Path) -> None:
        self._runner = asyncio.Runner()
        self._store = self._runner.run(self._opened(root))
        self.store = self._store.images.store
        self._held = self.store.leases.hold()
        self.worker: Worker = FakeWorker(self.store, self._held.__enter__(), [])
        image = self.store.records.get(keep_image(self._store))
        assert image is not None
        self.base = image.config.diff_ids

    async def _opened(self, root: Path) -> Store:
        return Store(root)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        self._held.__exit__(None, None, None)
        self.do(self._store.close())
        self._runner.close()


@pytest.fixture(scope="module", params=["real", "fake"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("worker")
    made: World = BuildWorld(root) if request.param == "real" else FakeWorld(root)
    yield made
    made.close()


def run(world: World, script: str, parent: Sequence[str] | None = None) -> tuple[Layer, str]:
    said: list[bytes] = []
    step = RunStep(("/bin/sh", "-c", script), ("PATH=/bin:/usr/bin",))
    below = world.base if parent is None else parent
    layer = world.do(world.worker.run(below, step, NoClient(), lambda stream, data: said.append(data)))
    return layer, b"".join(said).decode()


def test_a_layer_is_in_the_store_under_its_name(world: World) -> None:
    layer, said = run(world, "echo x > f; cat f")
    assert said == "x\n" and layer.blob is not None
    assert layer.tree == chain_ids((*world.base, layer.diff_id))[-1]
    assert world.store.trees.tree_store.has(layer.tree) and world.store.blobs.has(layer.blob.digest)
    world.store.collector.everything()
    assert world.store.trees.tree_store.has(layer.tree) and world.store.blobs.has(layer.blob.digest)
    assert run(world, "cat f", (*world.base, layer.diff_id))[1] == "x\n"


def test_nothing_added_is_no_layer(world: World) -> None:
    layer, _ = run(world, "true")
    assert (layer.blob, layer.diff_id, layer.tree) == (None, "", "")


def test_content_has_no_times(world: World) -> None:
    first = run(world, "echo x > f; touch -d 2001-01-01 f")[0]
    second = run(world, "echo x > f; touch -d 2002-01-01 f")[0]
    other = run(world, "echo y > f; touch -d 2001-01-01 f")[0]
    assert first.content == second.content != other.content
    assert first.diff_id != second.diff_id


def test_a_status(world: World) -> None:
    with pytest.raises(StepFailed) as failed:
        run(world, "exit 3")
    assert failed.value.status == 3


def test_a_copy_and_its_checksum(world: World, tmp_path: Path) -> None:
    def tree(name: str, text: str) -> SourceTree:
        (tmp_path / name / "d").mkdir(parents=True)
        (tmp_path / name / "d/a").write_text(text)
        (tmp_path / name / "b").write_text("b\n")
        return SourceTree(secrets.token_hex(8), tmp_path / name)

    same, again, other = tree("1", "x\n"), tree("2", "x\n"), tree("3", "y\n")

    def sum(found: SourceTree | StageTree, *paths: str) -> str:
        return world.do(world.worker.checksum(Matched(found, paths)))

    assert sum(same, "d") == sum(again, "d") != sum(other, "d")
    assert sum(same, "b") == sum(other, "b")
    with pytest.raises(NotFound, match='"/nope": not found'):
        sum(same, "nope")
    layer = world.do(world.worker.copy(world.base, CopyStep((Matched(same, ("d", "b")),), "/t/")))
    assert run(world, "cat t/a t/b", (*world.base, layer.diff_id))[1] == "x\nb\n"
    of_stage = StageTree(layer.tree)
    assert sum(of_stage, "t/a") == sum(of_stage, "/t/a")


def test_files_of_the_dockerfile_itself(world: World) -> None:
    step = CopyStep((Matched(None, ("name",), {"name": b"text\n"}),), "/t/")
    layer = world.do(world.worker.copy(world.base, step))
    assert run(world, "cat t/name", (*world.base, layer.diff_id))[1] == "text\n"


def test_packages(world: World) -> None:
    """Of all layers; what one has taken away is not there."""
    script = (
        "mkdir -p var/lib/dpkg lib/site-packages/m.dist-info; echo ID=debian > lib/os-release; "
        "printf 'Package: p\\nVersion: 1\\n' > var/lib/dpkg/status; ln -s / lib/site-packages/loop; "
        "printf 'Name: m\\nVersion: 2\\n' > lib/site-packages/m.dist-info/METADATA"
    )
    first = (*world.base, run(world, script)[0].diff_id)
    second = (*first, run(world, "rm -r var/lib/dpkg", first)[0].diff_id)
    assert world.do(world.worker.packages(())).packages == []
    found = world.do(world.worker.packages(first))
    assert [(p.kind, p.name, p.version) for p in found.packages] == [("deb", "p", "1"), ("pypi", "m", "2")]
    assert found.unread == [] and world.do(world.worker.packages(first)) == found
    assert [p.name for p in world.do(world.worker.packages(second)).packages] == ["m"]
