"""Images that go by themselves: what is unused, by the policy, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from e2e_parts.clients import CORTEN, Client, execute
from e2e_parts.cortend import Cortend
from e2e_parts.others import archive, layer, registry
from e2e_parts.patience import PATIENCE, until


class World:
    def __init__(self, root: Path) -> None:
        self.config = root / "daemon.json"
        self.config.write_text("{}")
        self.daemon = Cortend(root, "--config-file", str(self.config))
        self.corten = Client("corten", CORTEN, self.daemon.address, root)
        self.daemon.start()

    def load(self, *names: str) -> None:
        for name in names:
            path = self.daemon.root / "image.tar"
            shared = layer({"etc/base": "base\n"}, programs=True)
            archive(path, f"{name}:1", [shared, layer({"etc/own": name * 5000})], {"Cmd": ["true"]})
            self.corten("load", "-q", "-i", str(path))

    def names(self) -> list[str]:
        return sorted(self.corten.out("images", "--format", "{{.Repository}}").splitlines())

    def stop(self) -> None:
        self.corten.close()
        self.daemon.stop()


@pytest.fixture
def world() -> Iterator[World]:
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    world = World(root)
    try:
        yield world
    finally:
        world.stop()
        shutil.rmtree(root, ignore_errors=True)


def test_by_hand(world: World) -> None:
    world.load("gc/a", "gc/b", "gc/c", "gc/d")
    world.corten("create", "--name", "holder", "gc/b:1")
    assert "No image goes by itself" in world.corten.out("image", "gc")
    assert world.names() == ["gc/a", "gc/b", "gc/c", "gc/d"]
    world.corten("create", "--name", "other", "gc/a:1")
    world.corten("rm", "other")  # a was used last now
    lines = world.corten.out("image", "gc", "--max-age", "1ms", "--keep-images", "2", "--dry-run").splitlines()
    does = {line.split()[1] if line.startswith("stays") else line.split()[2]: line for line in lines[1:-1]}
    assert [name for name, line in does.items() if line.startswith("would go")] == ["gc/c:1", "gc/d:1"]
    assert "container holder uses it" in does["gc/b:1"] and "among the 2 that are kept at least" in does["gc/a:1"]
    assert world.names() == ["gc/a", "gc/b", "gc/c", "gc/d"]
    out = world.corten.out("image", "gc", "--max-age", "1ms", "--keep-images", "2")
    assert "not used for" in out and "Total reclaimed space: " in out
    assert world.names() == ["gc/a", "gc/b"]
    world.corten("rm", "holder")
    world.corten("image", "gc", "--max-age", "1ms")
    assert world.names() == []
    assert "nothing is wrong" in world.corten.out("system", "check")
    assert "image-gc: max-age" in world.corten("image", "gc", "--max-age", "soon", code=1).err


def test_after_a_pull_and_over_a_restart(world: World, tmp_path: Path) -> None:
    with registry(tmp_path / "registry") as host:
        world.load("gc/old", "gc/used", "gc/new")
        world.corten("tag", "gc/new:1", f"{host}/gc/new:1")
        world.corten("push", "-q", f"{host}/gc/new:1")
        world.corten("rmi", f"{host}/gc/new:1", "gc/new:1")
        world.corten("create", "--name", "holder", "gc/used:1")
        events = time.time()
        world.daemon._process.terminate()  # type: ignore[union-attr]
        world.daemon._process.wait(PATIENCE)  # type: ignore[union-attr]
        with closing(sqlite3.connect(world.daemon.data / "corten.db")) as connection, connection:
            connection.execute("UPDATE images SET added=added-86400")
            connection.execute("DELETE FROM records WHERE kind='image-use'")
        world.config.write_text(json.dumps({"image-gc": {"free-space": "99%"}}))
        world.daemon.start()
        world.corten("pull", "-q", f"{host}/gc/new:1")
        until(lambda: "gc/old" not in world.names())
        assert world.names() == sorted(["gc/used", f"{host}/gc/new"])
        assert [e["Action"] for e in world.daemon.events(events, type="image", event="delete")] == ["delete"]


def test_a_policy_is_reloaded(world: World) -> None:
    world.load("gc/a")
    assert "No image goes by itself" in world.corten.out("image", "gc", "--dry-run")
    world.config.write_text(json.dumps({"image-gc": {"max-age": "1ms"}}))
    os.kill(world.daemon.pid, signal.SIGHUP)
    until(lambda: "would go" in world.corten.out("image", "gc", "--dry-run"))
    assert world.names() == ["gc/a"]
    world.corten("image", "gc")
    assert world.names() == []


def test_a_bad_policy_is_refused(world: World) -> None:
    world.config.write_text(json.dumps({"image-gc": {"free-space": "much"}}))
    done = execute([*world.daemon.command, "--validate"])
    assert done.code == 1 and "image-gc: free-space cannot be 'much'" in done.err
