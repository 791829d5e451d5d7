"""A look at a container's network that fails: a warning while it runs, nothing when it has just ended."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest

from corten.engine.containers import network
from corten.engine.containers import remove as container_remove
from corten.engine.containers import start as container_start
from corten.errors import Failed
from docker_json import create
from fakes.engine import PlainEngine
from fakes.runtime import FakeTask


@pytest.mark.parametrize("ended", [False, True])
async def test_only_a_container_that_runs_has_lost_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ended: bool
) -> None:
    engine = PlainEngine(tmp_path)
    await engine.open()
    container, _ = await create(engine, {"Image": "test", "Cmd": ["sleep", "60"]}, name="box")
    await container_start.start(engine.containers, container)
    task = container.task
    assert isinstance(task, FakeTask)

    def fail(_endpoint: object) -> bool:
        raise Failed("no such device")

    monkeypatch.setattr(engine.containers.networks, "lacks_device", fail)
    async with container.lock:  # the end is recorded under it: not before this block is left
        if ended:
            await task.signal(signal.SIGKILL)
            await task.wait()
        with caplog.at_level(logging.WARNING, "corten"):
            await network.serve_again(engine.containers, container)
    said = [record.message for record in caplog.records if "lost a part of its network" in record.message]
    assert len(said) == (0 if ended else 1)
    await container_remove.remove(engine.containers, container, force=True)
    await engine.settle()
    await engine.close()
