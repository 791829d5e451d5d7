"""The works, one module each, in the order of the table."""

from __future__ import annotations

from bench.stage import Work
from bench.works import builds, cycle, execs, images, logs, many, memory, networks, ps, pull, run, streams, traffic

ALL: tuple[Work, ...] = (
    run.WORK, cycle.WORK, execs.WORK, many.WORK, memory.WORK, logs.WORK, streams.WORK, ps.WORK, pull.WORK, builds.WORK,
    *images.ALL, *networks.ALL, traffic.NAMES, traffic.TRAFFIC,
)  # fmt: skip
