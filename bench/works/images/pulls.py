"""Pull from docker-registry on the loopback; nothing of the image is there before."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

from bench import commands
from bench.kept import Kept
from bench.measure import Failed, Subject, Table, alternate
from bench.stage import Stage
from bench.works.images.common import HALF, QUICK_RUNS, RUNS, SECONDS, check, docker, forget, images, served


def measure(stage: Stage) -> list[Table]:
    """One table for each image."""
    return [_table(stage, image) for image in images(stage)]


def _table(stage: Stage, image: Kept) -> Table:
    reference = served(stage, image)
    subjects = [
        Subject(name, docker(daemon, "pull", "-q", reference), partial(forget, daemon),
                partial(check, daemon, reference))
        for name, daemon in stage.daemons().items()
    ]  # fmt: skip
    subjects += [*stage.absent_rows(), _podman(stage, reference), _skopeo(stage, reference)]
    rows = alternate(subjects, stage.runs(RUNS[image.name], QUICK_RUNS), warm_up=0)
    note = f"{image.description()}. From docker-registry on the loopback; skopeo does not unpack."
    return Table(f"pull of {image.name}", rows, "dockerd", (HALF,), note=note)


def _podman(stage: Stage, reference: str) -> Subject:
    try:
        podman = stage.podman()
    except Failed as error:
        return Subject("podman", absent=str(error))
    pull = [*podman.command, "pull", "-q", "--tls-verify=false", reference]

    def forget_it() -> None:
        commands.run([*podman.command, "rmi", "-f", reference])
        os.sync()

    return Subject("podman", partial(commands.run, pull, None, SECONDS), after=forget_it)


def _skopeo(stage: Stage, reference: str) -> Subject:
    place = stage.scratch / "skopeo"
    copy = ["skopeo", "copy", "-q", "--insecure-policy", "--src-tls-verify=false", f"docker://{reference}"]
    run = partial(commands.run, [*copy, f"dir:{place}"], None, SECONDS)
    return Subject("skopeo copy", run, after=partial(_clear, place))


def _clear(place: Path) -> None:
    shutil.rmtree(place)
    os.sync()
