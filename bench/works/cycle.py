"""Create, start, wait and remove over one kept-alive connection: the engine alone, without any client's start-up."""

from __future__ import annotations

import contextlib
from functools import partial

from bench import floor, image
from bench.measure import Failed, Subject, Table, Target, alternate
from bench.sandbox import cgroup_name
from bench.stage import Stage, Work, unique
from bench.wire import Connection

FLOOR = "kernel's part in plain Python"
PHASES = ("create", "start", "wait", "remove")


def measure(stage: Stage) -> list[Table]:
    """One table, with the floor beside both daemons."""
    with contextlib.ExitStack() as connections:
        subjects = [
            Subject(name, partial(life, connections.enter_context(daemon.connect())))
            for name, daemon in stage.daemons().items()
        ]
        subjects += [*stage.absent_rows(), Subject(FLOOR, partial(_floor, stage))]
        rows = alternate(subjects, stage.runs(15, 5))
    note = (
        f"`true` of {image.NAME} on the default bridge. The floor forks, enters five namespaces, mounts an overlay, "
        "pivots, joins six control groups, executes, waits and clears up; it has no network and keeps no record."
    )
    return [Table("create, start, wait, remove over one connection", rows, "dockerd", (_target(),), note=note)]


def life(api: Connection) -> None:
    """One container from its creation to its removal. Raises Failed where its exit status is not 0."""
    identity = api.ask("POST", f"/containers/create?name={unique()}", {"Image": image.NAME, "Cmd": ["true"]})["Id"]
    api.ask("POST", f"/containers/{identity}/start")
    status = api.ask("POST", f"/containers/{identity}/wait")["StatusCode"]
    api.ask("DELETE", f"/containers/{identity}")
    if status:
        raise Failed(f"true ended with {status}")


def _floor(stage: Stage) -> None:
    floor.cycle(stage.scratch / "rootfs", stage.scratch / "floor", cgroup_name(stage.scratch))


def _target() -> Target:
    return Target("Corten", 1 / 12, "dockerd")


WORK = Work("cycle", measure)
