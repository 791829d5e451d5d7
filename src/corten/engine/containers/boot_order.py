"""The order in which a new daemon starts containers: HostConfig.StartAfter, an addition of ours (docs/containers.md).

It holds a start by the daemon's own start alone. What a client starts, and what a restart policy starts again, waits
for nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from corten.engine.containers import wait
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.errors import Invalid, NotFound
from corten.spec.docker.filters import Filters
from corten.spec.docker.host_config import HostConfig, StartAfter

log = logging.getLogger(__name__)

Order = Mapping[Container, Sequence[tuple[Container, StartAfter]]]


def warnings(containers: Containers, host: HostConfig) -> list[str]:
    """Of a create: what it is to start after may be made later, as clients make several side by side."""
    found = []
    for edge in host.start_after or ():
        try:
            containers.get(edge.container)
        except (NotFound, Invalid) as error:
            found.append(f"StartAfter has no effect as it is now: {error}")
    return found


def order(containers: Containers, starting: Sequence[Container]) -> Order:
    """What each of `starting`, all that are started, waits for. An edge that would make a circle, and one to a
    container that is gone, is a warning in the log."""
    found = {container: _edges(containers, container) for container in starting}
    while circle := _circle(containers, found):  # each waits for the one before it; one at least by an edge
        for other, container in pairwise(circle):
            kept = [edge for edge in found[container] if edge[0] is not other]
            if len(kept) < len(found[container]):
                log.warning("container %s starts without what it starts after: %s waits for it", container.id, other.id)
                found[container] = kept
                break
        else:
            break  # of networks alone: their starts say what is wrong
    return found


async def reached(containers: Containers, container: Container, edges: Sequence[tuple[Container, StartAfter]]) -> None:
    """Wait until all of `edges` hold, or cannot any more, which is a warning in the log: the container is started all
    the same, as its restart policy asks."""
    for other, edge in edges:
        if problem := await _reached(containers, other, edge.condition):
            log.warning("container %s starts without what it starts after: %s %s", container.id, other.id, problem)


def _edges(containers: Containers, container: Container) -> list[tuple[Container, StartAfter]]:
    found = []
    for edge in container.record.host_config.start_after or ():
        try:
            found.append((containers.get(edge.container), edge))
        except (NotFound, Invalid) as error:
            log.warning("container %s starts without what it starts after: %s", container.id, error)
    return found


def _circle(containers: Containers, found: Order) -> list[Container]:
    """Containers that wait for one another; none when all can be started."""
    graph = {container: {other for other, _ in edges} for container, edges in found.items()}
    for container, others in graph.items():
        others.update(containers.owners(container))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[Container] = error.args[1]
        return circle
    return []


async def _reached(containers: Containers, other: Container, condition: str) -> str:
    """Why it cannot hold; "" when it does."""
    while True:
        await other.settled()
        state = other.record.state
        if other.gone:
            return "was removed"
        if condition == "completed":
            if not state.has_task:
                return "" if state.started_at and state.exit_code == 0 else f"has exited with {state.exit_code}"
            await wait.future(other, "next-exit")
        elif not state.has_task:
            return "does not run"
        elif condition in ("", "started"):
            return ""
        elif other.health is None:
            return "has no health check"
        elif other.health.status == "healthy":
            return ""
        else:
            await _changes(containers, other)


async def _changes(containers: Containers, other: Container) -> None:
    """Wait for the next event of it. Listening begins at once: nothing is missed behind what was seen before."""
    filters = Filters({"type": ["container"], "container": [other.id]})
    async with aclosing(containers.events.listen(filters=filters)) as events:
        async for _ in events:
            return
