"""The works, one module each, in the order of the table."""

from __future__ import annotations

from bench.stage import Work
from bench.works import (
    builds,
    compose,
    cycle,
    execs,
    guest_run,
    guest_traffic,
    guests,
    images,
    logs,
    machine_traffic,
    machines,
    many,
    memory,
    networks,
    pods,
    ps,
    pull,
    run,
    streams,
    traffic,
)

ALL: tuple[Work, ...] = (
    run.WORK, cycle.WORK, execs.WORK, many.WORK, memory.WORK, logs.WORK, streams.WORK, ps.WORK, pull.WORK, builds.WORK,
    compose.WORK, guests.WORK, guest_run.WORK, guest_traffic.WORK, machines.WORK, machine_traffic.WORK, *images.ALL,
    *networks.ALL, traffic.NAMES, traffic.TRAFFIC, pods.WORK,
)  # fmt: skip
