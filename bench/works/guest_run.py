"""`run --rm --isolation vm IMAGE true` by docker's client, from a template that is there: QEMU's processor time, by the
control group above the container's, in which nothing else is; and wall time of the same runs.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench import commands, image, peers, sandbox
from bench.measure import REST, Failed, Row, Table, Target
from bench.stage import Stage, Work

_NAME = "Corten, docker client"
_GROUPS = Path("/sys/fs/cgroup")
_VERSION_1 = ("cpuacct", "cpu,cpuacct")


def measure(stage: Stage) -> list[Table]:
    title = f"run --rm --isolation vm {image.NAME} true"
    try:
        processor, wall = _runs(stage)
    except Failed as error:
        return [Table(title, (Row(_NAME, remark=str(error)),), _NAME)]
    note = "Bridge network. The guest is a clone; its program has ended and its container is removed at the end."
    return [
        Table(f"{title}, QEMU's processor time", (Row(_NAME, processor),), _NAME, (Target(_NAME, 700),), note=note),
        Table(f"{title}, wall time", (Row(_NAME, wall),), _NAME, (Target(_NAME, 1000),)),
    ]


def _runs(stage: Stage) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Milliseconds, of each."""
    daemon = stage.daemon("Corten")
    command = [peers.docker_client(), "run", "--rm", "--isolation", "vm", image.NAME, "true"]
    usage = _usage(f"{sandbox.cgroup_name(stage.scratch)}/corten")
    commands.run(command, daemon.environ)  # boots the guest that the others begin from
    processor, wall = [], []
    for _ in range(stage.runs(7, 3)):
        time.sleep(REST)
        begin, spent = time.perf_counter(), _microseconds(usage)
        commands.run(command, daemon.environ)
        wall.append((time.perf_counter() - begin) * 1000)
        processor.append((_microseconds(usage) - spent) / 1000)
    return tuple(processor), tuple(wall)


def _usage(group: str) -> Path:
    """The file that has it: control groups of version 1, or 2."""
    for controller in _VERSION_1:
        if (_GROUPS / controller).is_dir():
            return _GROUPS / controller / group / "cpuacct.usage"
    return _GROUPS / group / "cpu.stat"


def _microseconds(usage: Path) -> float:
    try:
        words = usage.read_text().split()
    except OSError as error:
        raise Failed(str(error)) from error
    return int(words[0]) / 1000 if len(words) == 1 else float(words[words.index("usage_usec") + 1])


WORK = Work("guest-run", measure)
