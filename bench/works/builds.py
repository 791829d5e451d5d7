"""Builds: five RUN steps, everything cached, ten stages, COPY of many files, a changed and a new context."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import commands, image, peers
from bench.measure import Failed, Subject, Table, Target, alternate
from bench.stage import Stage, Work

DOCKERD = ("dockerd, classic", "dockerd, BuildKit")
CORTEN, OWN = "Corten, docker client", "Corten, own client"
ALONE = "own client alone (version)"
TAG = "bench/built"
MANY = "bench/many"
_PER_DIRECTORY = 100
_BLOCK = 1 << 20
_SECONDS = 600

Build = Callable[[list[str], Path], object]  # options, the context


@dataclass(frozen=True, slots=True)
class Size:
    """Of the large context."""

    files: int
    megabytes: int

    def __str__(self) -> str:
        return f"{self.files:,} files, {self.megabytes} MB"


def measure(stage: Stage) -> list[Table]:
    """Six tables. All clients send the same directory."""
    builders = _builders(stage)
    place = stage.scratch / "contexts"
    place.mkdir()
    size = Size(400, 8) if stage.quick else Size(20_000, 500)
    small, large = stage.runs(9, 3), stage.runs(3, 2)
    try:
        return [
            _table("build: five RUN steps", "Without cache; each writes a file.", _five(builders, place), small, 1 / 3),
            _table("build: all cached", "COPY, RUN, WORKDIR and ENV.", _cached(stage, builders, place), small, None),
            _table("build: ten stages", "One RUN each, and COPY from them all.", _ten(builders, place), small, 1 / 3),
            _table("build: COPY of many files", f"From an image: {size}.", _copy(builders, place, size), large, 1 / 3),
            _table("build: one changed file", f"Context: {size}.", _changed(builders, place, size), large, 1 / 3),
            _table("build: a new context", f"{size}, sent and copied.", _new(builders, place, size), large, 1 / 2),
        ]
    finally:
        shutil.rmtree(place)


def _table(title: str, note: str, subjects: list[Subject], runs: int, limit: float | None) -> Table:
    """Ratios are to the better of dockerd's two."""
    rows = alternate(subjects, runs)
    there = [row for row in rows if row.name in DOCKERD and row.values]
    base = min(there, key=lambda row: row.median).name if there else DOCKERD[0]
    targets = (Target(CORTEN, limit, base), Target(OWN, limit, base)) if limit is not None else ()
    return Table(title, rows, base, targets, note=note)


# ------------------------------------------------------------------------------------------------------- who builds


def _builders(stage: Stage) -> dict[str, Build | str]:
    """By row; a text says why there is none."""
    found: dict[str, Build | str] = {}
    for name, engine, buildkit in ((DOCKERD[0], "dockerd", "0"), (DOCKERD[1], "dockerd", "1"), (CORTEN, "Corten", "0")):
        try:
            environ = {**stage.daemon(engine).environ, "DOCKER_BUILDKIT": buildkit}
            found[name] = partial(_build, [old_docker_client()], environ)
        except Failed as error:
            found[name] = str(error)
    try:
        found[OWN] = partial(_build, peers.own_client(), dict(stage.daemon("Corten").environ))
    except Failed as error:
        found[OWN] = str(error)
    return found


def old_docker_client() -> str:
    """Docker's client of 20.10, which has BuildKit's client built in, where there is one; else the first."""
    places = [Path(place) / "docker" for place in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    for command in filter(os.path.exists, places):
        if "version 20." in subprocess.run([command, "--version"], capture_output=True, text=True).stdout:
            return str(command)
    return peers.docker_client()


def _build(client: list[str], environ: dict[str, str], options: list[str], context: Path) -> None:
    commands.run([*client, "build", "-q", "-t", TAG, *options, str(context)], environ, _SECONDS)


def _each(
    builders: dict[str, Build | str], act: Callable[[Build], object], before: Callable[[], object] | None = None
) -> list[Subject]:
    return [
        Subject(name, absent=build) if isinstance(build, str) else Subject(name, partial(act, build), before)
        for name, build in builders.items()
    ]


# --------------------------------------------------------------------------------------------------------- contexts


def _context(place: Path, name: str, *lines: str) -> Path:
    directory = place / name
    directory.mkdir()
    (directory / "Dockerfile").write_text("".join(f"{line}\n" for line in lines))
    return directory


def _fill(directory: Path, size: Size) -> None:
    """Files of one length, half of it random, in directories of a hundred."""
    length = size.megabytes * _BLOCK // size.files
    random, text = os.urandom(_BLOCK), b"a line of a program that goes on\n" * (length // 32 + 1)
    for number in range(size.files):
        if number % _PER_DIRECTORY == 0:
            (directory / f"{number // _PER_DIRECTORY}").mkdir()
        at = number * 4099 % (_BLOCK - length)
        data = random[at : at + length // 2] + text
        (directory / f"{number // _PER_DIRECTORY}" / f"{number}").write_bytes(data[:length])


def _five(builders: dict[str, Build | str], place: Path) -> list[Subject]:
    steps = [f"RUN echo {number} > /{number}" for number in range(5)]
    context = _context(place, "five", f"FROM {image.NAME}", *steps)
    return _each(builders, lambda build: build(["--no-cache"], context))


def _cached(stage: Stage, builders: dict[str, Build | str], place: Path) -> list[Subject]:
    lines = ("COPY a /a", "RUN echo 1 > /1", "WORKDIR /w", "ENV A=1")
    context = _context(place, "cached", f"FROM {image.NAME}", *lines)
    (context / "a").write_text("a")
    subjects = _each(builders, lambda build: build([], context))
    try:
        environ = stage.daemon("Corten").environ
    except Failed as error:
        return [*subjects, Subject(ALONE, absent=str(error))]
    return [*subjects, Subject(ALONE, partial(commands.run, [*peers.own_client(), "version"], environ))]


def _ten(builders: dict[str, Build | str], place: Path) -> list[Subject]:
    stages = [line for n in range(10) for line in (f"FROM {image.NAME} AS s{n}", f"RUN echo {n} > /file")]
    copies = [f"COPY --from=s{number} /file /{number}" for number in range(10)]
    context = _context(place, "ten", *stages, f"FROM {image.NAME}", *copies)
    return _each(builders, lambda build: build(["--no-cache"], context))


def _copy(builders: dict[str, Build | str], place: Path, size: Size) -> list[Subject]:
    source = _context(place, "many", f"FROM {image.NAME}", "COPY src /src")
    (source / "src").mkdir()
    _fill(source / "src", size)
    lines = ("ARG MANY", "FROM $MANY AS many", f"FROM {image.NAME}", "COPY --from=many /src /src")
    context = _context(place, "copy", *lines)
    made: dict[Build, str] = {}  # each client copies from the image that it has built: two share a daemon

    def act(build: Build) -> None:
        if build not in made:  # in the turn that does not count
            made[build] = f"{MANY}{len(made)}"
            build(["-t", made[build]], source)
        build(["--no-cache", "--build-arg", f"MANY={made[build]}"], context)

    return _each(builders, act)


def _changed(builders: dict[str, Build | str], place: Path, size: Size) -> list[Subject]:
    context = _context(place, "changed", f"FROM {image.NAME}", "COPY . /src")
    _fill(context, size)
    numbers = itertools.count()
    return _each(builders, lambda build: build([], context), lambda: _change(context, numbers))


def _change(context: Path, numbers: Iterator[int]) -> None:
    (context / "0/0").write_text(f"{next(numbers)}")


def _new(builders: dict[str, Build | str], place: Path, size: Size) -> list[Subject]:
    numbers = itertools.count()
    made: list[Path] = []

    def make() -> None:
        while made:
            shutil.rmtree(made.pop())
        made.append(_context(place, f"new{next(numbers)}", f"FROM {image.NAME}", "COPY . /src"))
        _fill(made[0], size)

    return _each(builders, lambda build: build([], made[0]), make)


WORK = Work("builds", measure, order=2)
