"""Push to an empty docker-registry on the loopback."""

from __future__ import annotations

import os
from functools import partial

from bench import commands, registries
from bench.kept import Kept
from bench.measure import Failed, Subject, Table, alternate
from bench.peers import Daemon
from bench.registries import Registry
from bench.stage import Stage
from bench.works.images.common import QUICK_RUNS, SECONDS, docker, have, images, served

RUNS = 2  # dockerd compresses every layer again, which takes half a minute
PORT = 5002


def measure(stage: Stage) -> list[Table]:
    """One table for each image."""
    registry = registries.debian(stage.scratch / "push-target", PORT)
    try:
        return [_table(stage, registry, image) for image in images(stage)]
    finally:
        registry.stop()


def _table(stage: Stage, registry: Registry, image: Kept) -> Table:
    reference = served(stage, image)
    target = f"{registry.address}/{image.repository}:latest"
    subjects = []
    for name, daemon in stage.daemons().items():
        have(daemon, reference)
        before = partial(_before, registry, daemon, reference, target)
        subjects.append(Subject(name, docker(daemon, "push", "-q", target), before, partial(_check, target)))
    copy = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", image.layout, f"docker://{target}"]
    subjects += [
        *stage.absent_rows(),
        Subject("skopeo copy", partial(commands.run, copy, None, SECONDS), partial(_empty, registry)),
    ]
    rows = alternate(subjects, stage.runs(RUNS, QUICK_RUNS), warm_up=0)
    note = (
        f"{image.description()}. Pulled before, to a docker-registry that has nothing; dockerd compresses the layers "
        "anew, Corten and skopeo send the blobs they have."
    )
    return Table(f"push of {image.name}", rows, "dockerd", (), note=note)


def _before(registry: Registry, daemon: Daemon, reference: str, target: str) -> None:
    docker(daemon, "tag", reference, target)()
    _empty(registry)


def _empty(registry: Registry) -> None:
    registry.empty()
    os.sync()


def _check(target: str) -> None:
    """Raises Failed where the registry has no such image."""
    try:
        commands.run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{target}"])
    except Failed as error:
        raise Failed(f"the registry has no {target}: {error}") from None
