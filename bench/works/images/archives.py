"""`docker load` of what `docker save` writes, and `docker save` of what was pulled."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from bench.kept import Kept
from bench.measure import Subject, Table, alternate
from bench.stage import Stage
from bench.works.images.common import HALF, QUICK_RUNS, RUNS, check, docker, forget, have, images, served

SAVES = 2


def load(stage: Stage) -> list[Table]:
    """One table for each image."""
    return [_load(stage, image) for image in images(stage)]


def _load(stage: Stage, image: Kept) -> Table:
    subjects = [
        Subject(name, docker(daemon, "load", "-q", "-i", str(image.archive)), partial(forget, daemon),
                partial(check, daemon, f"{image.repository}:latest"))
        for name, daemon in stage.daemons().items()
    ]  # fmt: skip
    rows = alternate([*subjects, *stage.absent_rows()], stage.runs(RUNS[image.name], QUICK_RUNS), warm_up=0)
    note = f"{image.description()}. From a docker-archive, layers uncompressed as Docker writes them."
    return Table(f"load of {image.name}", rows, "dockerd", (HALF,), note=note)


def save(stage: Stage) -> list[Table]:
    """One table for each image."""
    return [_save(stage, image) for image in images(stage)]


def _save(stage: Stage, image: Kept) -> Table:
    reference = served(stage, image)
    target = stage.scratch / "saved.tar"
    subjects = []
    for name, daemon in stage.daemons().items():
        have(daemon, reference)
        subjects.append(
            Subject(name, docker(daemon, "save", "-o", str(target), reference), after=partial(_clear, target))
        )
    rows = alternate([*subjects, *stage.absent_rows()], stage.runs(SAVES, QUICK_RUNS), warm_up=0)
    note = (
        f"{image.description()}. Pulled before; dockerd makes the layers' tars anew, Corten writes the blobs it keeps."
    )
    return Table(f"save of {image.name}", rows, "dockerd", (), note=note)


def _clear(target: Path) -> None:
    target.unlink()
    os.sync()
