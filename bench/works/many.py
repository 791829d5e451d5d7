"""Fifty starts, eight at a time, with Docker's client: `run -d` on the default bridge."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from bench import commands, image, peers
from bench.measure import Failed, Subject, Table, Target, alternate
from bench.peers import Daemon
from bench.stage import Stage, Work
from bench.works.containers import remove_many

AT_A_TIME = 8


def measure(stage: Stage) -> list[Table]:
    """One table; removing them is not timed."""
    number = 16 if stage.quick else 50
    subjects: list[Subject] = []
    for name, daemon in stage.daemons().items():
        try:
            client = peers.docker_client()
        except Failed as error:
            subjects.append(Subject(name, absent=f"docker client {error}"))
            continue
        started: list[str] = []
        act = partial(_start, client, daemon, number, started)
        subjects.append(Subject(name, act, after=partial(_clear, daemon, started)))
    rows = alternate([*subjects, *stage.absent_rows()], stage.runs(5, 1), warm_up=0)
    title = f"{number} starts, {AT_A_TIME} at a time"
    note = f"`docker run -d {image.NAME} sleep 100000`, the time until the last one is up."
    return [Table(title, rows, "dockerd", (Target("Corten", 1 / 6, "dockerd"),), note=note)]


def _start(client: str, daemon: Daemon, number: int, started: list[str]) -> None:
    command = [client, "run", "-d", image.NAME, "sleep", "100000"]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        answers = list(pool.map(lambda _: commands.run(command, daemon.environ), range(number)))
    started += [answer.strip() for answer in answers]


def _clear(daemon: Daemon, started: list[str]) -> None:
    remove_many(daemon, started)
    started.clear()


WORK = Work("many", measure)
