"""What a client carries: standard input into `exec -i` and `run -i`, and thousands of small files by `cp`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from bench import commands, image, peers
from bench.measure import Failed, Subject, Table, Target, alternate
from bench.stage import Stage, Work
from bench.works.containers import running
from bench.works.run import CORTEN, DOCKERD, OWN

BLOCK = 1 << 16
DRAIN = ("dd", "of=/dev/null", f"bs={BLOCK}", "iflag=fullblock")
Act = Callable[[list[str], Mapping[str, str], str], None]  # a client's command, its environment, a container


def measure(stage: Stage) -> list[Table]:
    """Four tables; the own client is held to what Docker's does with the same daemon."""
    megabytes, files = (16, 500) if stage.quick else (200, 7000)
    runs = stage.runs(7, 3)
    data, tree, got = stage.scratch / "input", stage.scratch / "tree", stage.scratch / "got"
    data.write_bytes(os.urandom(1 << 20) * megabytes)
    _plant(tree, files)
    targets = (Target(OWN, 1.0, CORTEN),)
    try:
        with contextlib.ExitStack() as stack:
            boxes = _containers(stage, stack)

            def table(title: str, act: Act, before: Callable[[], object] | None = None) -> Table:
                return Table(title, alternate(_subjects(stage, boxes, act, before), runs), DOCKERD, targets)

            return [
                table(f"{megabytes} MiB into exec -i", partial(_exec, data)),
                table(f"{megabytes} MiB into run -i", partial(_run, data)),
                table(f"cp of {files:,} files into a container", partial(_into, tree)),
                table(f"cp of {files:,} files out of a container", partial(_out, got), lambda: _empty(got)),
            ]
    finally:
        data.unlink()
        shutil.rmtree(tree)
        shutil.rmtree(got, ignore_errors=True)


def _plant(tree: Path, files: int) -> None:
    for number in range(files):
        place = tree / f"{number % 70:02}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.txt").write_bytes(b"x" * (100 + number % 900))


def _containers(stage: Stage, stack: contextlib.ExitStack) -> dict[str, str]:
    """A running container of each daemon that there is; the tree is in it, to be copied out."""
    boxes = {}
    for name, daemon in stage.daemons().items():
        boxes[name] = stack.enter_context(running(daemon))
        with contextlib.suppress(Failed):  # the rows say that there is no client
            commands.run(
                [peers.docker_client(), "cp", str(stage.scratch / "tree"), f"{boxes[name]}:/out"], daemon.environ
            )
    return boxes


def _subjects(stage: Stage, boxes: Mapping[str, str], act: Act, before: Callable[[], object] | None) -> list[Subject]:
    subjects = []
    for title, name, own in ((DOCKERD, "dockerd", False), (CORTEN, "Corten", False), (OWN, "Corten", True)):
        try:
            client = peers.own_client() if own else [peers.docker_client()]
            environ, box = stage.daemon(name).environ, boxes[name]
        except Failed as error:
            subjects.append(Subject(title, absent=str(error)))
            continue
        subjects.append(Subject(title, partial(act, client, environ, box), before))
    return subjects


def _exec(data: Path, client: list[str], environ: Mapping[str, str], box: str) -> None:
    _feed([*client, "exec", "-i", box, *DRAIN], data, environ)


def _run(data: Path, client: list[str], environ: Mapping[str, str], box: str) -> None:
    _feed([*client, "run", "--rm", "-i", "--network", "none", image.NAME, *DRAIN], data, environ)


def _into(tree: Path, client: list[str], environ: Mapping[str, str], box: str) -> None:
    commands.run([*client, "cp", str(tree), f"{box}:/in"], environ)


def _out(got: Path, client: list[str], environ: Mapping[str, str], box: str) -> None:
    commands.run([*client, "cp", f"{box}:/out", str(got)], environ)


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()


def _feed(command: list[str], data: Path, environ: Mapping[str, str]) -> None:
    """Run the command with the file as its input, through a pipe as `cat FILE |` would. Failed."""
    with subprocess.Popen(["cat", str(data)], stdout=subprocess.PIPE) as cat:
        done = subprocess.run(command, env=environ, stdin=cat.stdout, capture_output=True, text=True, timeout=120)
    if done.returncode or f"{data.stat().st_size // BLOCK}+0 records out" not in done.stderr:
        raise Failed(f"{' '.join(command[:4])}: {commands.last_words(done.stderr or done.stdout)}")


WORK = Work("streams", measure)
