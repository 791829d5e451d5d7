"""What all works with large images do: have an image somewhere, and be rid of it before the next turn's clock."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from bench import commands, image, kept, peers
from bench.kept import Kept
from bench.measure import Failed, Target
from bench.peers import Daemon
from bench.registries import Registry
from bench.stage import Stage

RUNS = {"debian": 3, "twofiles": 2}  # a turn of all engines takes half a minute
QUICK_RUNS = 1
SECONDS = 600
HALF = Target("Corten", 1 / 2, "dockerd")
_GONE_SECONDS = 60


def images(stage: Stage) -> list[Kept]:
    """Raises Failed where one was not made."""
    return [kept.find(name, stage.kept) for name in kept.LAYERS]


def served(stage: Stage, wanted: Kept) -> str:
    """The reference of the image in the run's docker-registry; it is put there when it is not."""
    registry: Registry = stage.registry()
    registry.put(wanted.layout, f"{wanted.repository}:latest")
    return f"{registry.address}/{wanted.repository}:latest"


def docker(daemon: Daemon, *words: str) -> partial[str]:
    """Docker's client with `words` against a daemon."""
    return partial(commands.run, [peers.docker_client(), *words], daemon.environ, SECONDS)


def have(daemon: Daemon, reference: str) -> None:
    """Pull the image unless it is there."""
    with daemon.connect() as api:
        status, _, _ = api.raw("GET", f"/images/{reference}/json")
    if status != 200:
        docker(daemon, "pull", "-q", reference)()


def check(daemon: Daemon, reference: str) -> None:
    """Raises Failed where the image is not there."""
    with daemon.connect() as api:
        api.ask("GET", f"/images/{reference}/json")


def forget(daemon: Daemon) -> None:
    """Remove every image but the small one that all works share, and wait until the daemon's disk is at rest.

    Every one: under another name the layers would still be there for the next turn.
    """
    with daemon.connect() as api:
        for found in api.ask("GET", "/images/json"):
            if not any(tag.startswith(f"{image.NAME}:") for tag in found["RepoTags"] or ()):
                api.ask("DELETE", f"/images/{found['Id']}?force=1")
    _rest(daemon)


def _rest(daemon: Daemon) -> None:
    """What Corten deletes behind its answer is gone, and nothing waits to be written."""
    trash = daemon.socket.parent / "data/snapshots/.trash"
    deadline = time.monotonic() + _GONE_SECONDS
    while _entries(trash):
        if time.monotonic() > deadline:
            raise Failed(f"{daemon.name} still deletes after {_GONE_SECONDS} s")
        time.sleep(0.05)
    os.sync()


def _entries(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
