"""Peak memory of an engine while it pulls a small and a large image: VmHWM (proc(5)), reset before each pull."""

from __future__ import annotations

from pathlib import Path

from bench import image as small_image
from bench import kept, processes
from bench.measure import Row, Table, Target
from bench.peers import Daemon
from bench.stage import Stage
from bench.works.images.common import QUICK_RUNS, RUNS, docker, forget, served

SMALL_MB = 32
REPOSITORY = "bench/small"
WITHIN = 1.25  # what allocators leave differs from pull to pull


def measure(stage: Stage) -> list[Table]:
    """One table."""
    large = kept.find("twofiles", stage.kept)
    references = {f"{SMALL_MB} MB": _small(stage), f"{large.facts.unpacked / 1e6:.0f} MB": served(stage, large)}
    rows = []
    for name, daemon in stage.daemons().items():
        _peak(daemon, next(iter(references.values())))  # what the first pull of all loads is not counted
        for size, reference in references.items():
            values = [_peak(daemon, reference) for _ in range(stage.runs(RUNS[large.name], QUICK_RUNS))]
            rows.append(Row(f"{name}, image of {size}", tuple(values)))
    rows += [Row(each.name, remark=each.absent) for each in stage.absent_rows()]
    small, big = (f"Corten, image of {size}" for size in references)
    note = "VmHWM of all processes of the engine together that are there before and after, reset before each pull."
    target = Target(big, WITHIN, small)
    return [Table("peak memory of a pull", tuple(rows), rows[0].name, (target,), "MB", note)]


def _small(stage: Stage) -> str:
    tree, archive = stage.scratch / "small", stage.scratch / "small.tar"
    small_image.weigh(small_image.tree(tree), SMALL_MB)
    archive.write_bytes(small_image.docker_archive(tree, f"{REPOSITORY}:latest"))
    registry = stage.registry()
    registry.put(f"docker-archive:{archive}", f"{REPOSITORY}:latest")
    return f"{registry.address}/{REPOSITORY}:latest"


def _peak(daemon: Daemon, reference: str) -> float:
    """MB of one pull; the image is gone before and after it."""
    forget(daemon)
    there = daemon.processes()
    for pid in there:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    docker(daemon, "pull", "-q", reference)()
    peak = sum(map(processes.high_water_kb, there)) / 1024
    forget(daemon)
    return peak
