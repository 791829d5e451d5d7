"""Memory of an engine's own processes: idle, and for each running container; proportional set size."""

from __future__ import annotations

import statistics
import time

from bench import processes
from bench.measure import Failed, Row, Table, Target
from bench.peers import Daemon
from bench.stage import DAEMONS, Stage, Work
from bench.works.containers import remove_many, start_many

SAMPLES = 5
PAUSE = 0.3  # seconds between two looks, so that collectors and allocators have settled in the median


def measure(stage: Stage) -> list[Table]:
    """Two tables, idle and per container. Daemons that have done nothing but import the image."""
    number = 10 if stage.quick else 50
    idle, each, seen = [], [], []
    for name in DAEMONS:
        try:
            daemon = stage.daemon(name)
            before, after, kinds = _look(daemon, number)
        except (Failed, OSError) as error:
            idle.append(Row(name, remark=str(error)))
            each.append(Row(name, remark=str(error)))
            continue
        idle.append(Row(name, before))
        base = statistics.median(before)
        each.append(Row(name, tuple((value - base) / number for value in after)))
        seen.append(f"{name}: {kinds}")
    note = (
        f"PSS of the daemon and all it started outside of containers, {SAMPLES} looks. "
        f"Processes without and with {number} containers: {'. '.join(seen)}."
    )
    return [
        Table("engine memory, idle", tuple(idle), "dockerd", (Target("Corten", 60),), "MB", note),
        Table(f"engine memory for each of {number} running containers", tuple(each), "dockerd",
              (Target("Corten", 1.5),), "MB"),
    ]  # fmt: skip


def _look(daemon: Daemon, number: int) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """MB without containers, MB with `number` of them, and which processes stood for it both times."""
    before = _samples(daemon)
    kinds = processes.by_name(daemon.processes())
    started = start_many(daemon, number)
    try:
        after = _samples(daemon)
        kinds += f"; then {processes.by_name(daemon.processes())}"
    finally:
        remove_many(daemon, started)
    return before, after, kinds


def _samples(daemon: Daemon) -> tuple[float, ...]:
    values = []
    for _ in range(SAMPLES):
        time.sleep(PAUSE)
        values.append(processes.pss(daemon.processes()))
    return tuple(values)


WORK = Work("memory", measure, order=0)
