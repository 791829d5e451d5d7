"""Health checks: the command of a container's check, run in it again and again."""

from __future__ import annotations

import asyncio

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.probe import Probe, make_probe
from corten.errors import Conflict, CortenError
from corten.spec.docker import times
from corten.spec.docker.exec import ExecConfig


def begin(containers: Containers, container: Container) -> None:
    """Check a container that has just started, until it ends."""
    probe = container.health = make_probe(container.record.config)
    if probe is not None:
        checking = _check(containers, container, probe)
        probe.task = containers.watching.spawn(checking, f"the health check of container {container.id}")


async def _check(containers: Containers, container: Container, probe: Probe) -> None:
    while True:
        await asyncio.sleep(probe.pause())
        if container.status != "running":
            continue
        began = times.now()
        result = await _run(containers, container, probe)
        if result is not None and container.health is probe and probe.note(*result, began):
            action = f"health_status: {probe.status}"
            containers.publish(container, action)


async def _run(containers: Containers, container: Container, probe: Probe) -> tuple[int, str] | None:
    """Exit code and output of one check; -1 when it cannot be run, or takes too long. None, which says nothing of its
    health, when the container has been paused meanwhile, for a commit perhaps, or has ended."""
    config = ExecConfig(cmd=probe.command, attach_stdout=True, attach_stderr=True)
    try:
        result = await containers.execs.capture(container, config, probe.timeout)
    except Conflict:
        return None
    except CortenError as error:
        return -1, str(error)
    return result if container.status == "running" else None
