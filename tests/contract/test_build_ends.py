"""Steps of builds that are cancelled, fail, or lose their supervisor: nothing is left of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_world import BuildWorld, NoClient
from corten.build.contract import CacheMount, CopyStep, Matched, RunStep, StepFailed
from corten.errors import CortenError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the runtime needs root")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildWorld]:
    world = BuildWorld(tmp_path_factory.mktemp("build"))
    world.run("true")  # what a daemon makes once and keeps
    yield world
    world.close()


async def _cancelled(world: BuildWorld, after: float | None) -> None:
    """A RUN, cancelled `after` seconds, or once it runs (None)."""
    began = asyncio.Event()
    script = "echo x > /f; echo began; (sleep 3600 &) ; sleep 3600"
    step = RunStep(("/bin/sh", "-c", script), mounts=(CacheMount("/c", "x"),))
    running = asyncio.ensure_future(world.worker.run(world.base, step, NoClient(), lambda *_: began.set()))
    if after is None:
        await began.wait()
    else:
        await asyncio.sleep(after)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("after", [None, 0, 0.005, 0.02, 0.05, 0.1])
def test_a_run_that_is_cancelled(world: BuildWorld, after: float | None) -> None:
    world.do(_cancelled(world, after))
    assert world.left() == []
    world.do(world.daemon.engine.containers.networks.settle())
    assert list(Path(f"/sys/class/net/{world.name}/brif").iterdir()) == []


async def _supervisor_killed(world: BuildWorld) -> None:
    began = asyncio.Event()
    step = RunStep(("/bin/sh", "-c", "echo began; sleep 3600"))
    running = asyncio.ensure_future(world.worker.run(world.base, step, NoClient(), lambda *_: began.set()))
    await began.wait()
    (run,) = (world.exec / "containers").iterdir()
    os.kill(int(json.loads((run / "state.json").read_text())["supervisor"]), signal.SIGKILL)
    with pytest.raises((StepFailed, CortenError)):
        await running


def test_a_supervisor_that_is_killed(world: BuildWorld) -> None:
    world.do(_supervisor_killed(world))
    assert world.left() == []


async def _copy_cancelled(world: BuildWorld, step: CopyStep, after: float) -> None:
    running = asyncio.ensure_future(world.worker.copy(world.base, step))
    await asyncio.sleep(after)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_a_copy_that_is_cancelled(world: BuildWorld) -> None:
    tree = world.context("large")
    with (tree.directory / "f").open("wb") as file:
        for _ in range(300):
            file.write(os.urandom(1 << 20))
    world.work.rooms.trees.tree_store.drain()
    before = (len(list((world.data / "snapshots").iterdir())), len(list(world.store.blobs.list())))
    for after in (0, 0.05, 0.3):
        world.do(_copy_cancelled(world, CopyStep((Matched(tree, ("f",)),), "/f"), after))
        world.work.rooms.trees.tree_store.drain()
        assert (len(list((world.data / "snapshots").iterdir())), len(list(world.store.blobs.list()))) == before
        assert list(world.store.blobs.parts()) == []
    assert world.left() == []


def test_two_steps_that_add_the_same(world: BuildWorld) -> None:
    tree = world.context("same")
    (tree.directory / "f").write_text("x")

    async def both() -> list[str]:
        steps = [world.worker.copy(world.base, CopyStep((Matched(tree, ("f",)),), "/f", times=1)) for _ in range(2)]
        return [layer.tree for layer in await asyncio.gather(*steps)]

    one, two = world.do(both())
    assert one == two
    runs = "touch -d @5 /g /"
    assert len({world.run(runs)[0].tree for _ in range(2)}) <= 2
    assert world.left() == []
