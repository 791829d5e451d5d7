"""The registry servers for the same client: Corten's own beside docker-registry, both with the same blobs."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

from bench import commands, kept, peers, registries
from bench.kept import Kept
from bench.measure import Failed, Subject, Table, Target, alternate
from bench.registries import Registry
from bench.stage import Stage
from bench.works.images.common import QUICK_RUNS, SECONDS, served

DOCKER, OWN = "docker-registry", "Corten's registry"
PORT = 5003
SIDE_BY_SIDE = 4
RUNS = 3


def measure(stage: Stage) -> list[Table]:
    """Three tables: one blob to one client, to several at a time, an image to skopeo."""
    image = kept.find("twofiles", stage.kept)
    served(stage, image)
    own = registries.own(stage.scratch / "own-registry", PORT)
    try:
        own.put(image.layout, f"{image.repository}:latest")
        return _tables(stage, image, {DOCKER: stage.registry(), OWN: own})
    finally:
        own.stop()


def _tables(stage: Stage, image: Kept, servers: dict[str, Registry]) -> list[Table]:
    peers.need("curl")
    runs = stage.runs(RUNS, QUICK_RUNS)
    blob = image.biggest_blob()
    urls = {
        name: f"http://{each.address}/v2/{image.repository}/blobs/sha256:{blob.name}" for name, each in servers.items()
    }
    megabytes = blob.stat().st_size / 1e6
    one = alternate([Subject(name, partial(_fetch, url, 1)) for name, url in urls.items()], runs)
    many = alternate([Subject(name, partial(_fetch, url, SIDE_BY_SIDE)) for name, url in urls.items()], runs)
    copies = alternate([_copy(stage.scratch / "copied", name, each, image) for name, each in servers.items()], runs)
    target = (Target(OWN, 1, DOCKER),)
    return [
        Table(f"a blob of {megabytes:.0f} MB from a registry, by curl", one, DOCKER, target),
        Table(f"the same to {SIDE_BY_SIDE} clients at a time", many, DOCKER, target),
        Table(f"{image.name} from a registry, by skopeo copy", copies, DOCKER, target, note=f"{image.description()}."),
    ]


def _fetch(url: str, clients: int) -> None:
    command = ["curl", "-sfL", "-o", "/dev/null", url]
    running = [subprocess.Popen(command) for _ in range(clients)]
    if failed := [status for status in [each.wait(SECONDS) for each in running] if status]:
        raise Failed(f"curl ended with {failed[0]}")


def _copy(place: Path, name: str, registry: Registry, image: Kept) -> Subject:
    source = f"docker://{registry.address}/{image.repository}:latest"
    command = ["skopeo", "copy", "-q", "--insecure-policy", "--src-tls-verify=false", source, f"dir:{place}"]
    return Subject(name, partial(commands.run, command, None, SECONDS), after=partial(_clear, place))


def _clear(place: Path) -> None:
    shutil.rmtree(place)
    os.sync()
