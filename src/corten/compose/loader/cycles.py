"""Whether services wait for one another in a ring."""

from __future__ import annotations

from corten.compose.errors import ComposeError
from corten.compose.model import Project


def check_cycles(project: Project) -> None:
    """Raises ComposeError, which names the ring. Iterative: as many services as the files have."""
    done: set[str] = set()
    for start in sorted(project.services):
        ring = _ring(project, start, done)
        if ring:
            said = f"dependency cycle detected: {' -> '.join(ring)}"
            raise ComposeError(said, path=f"services.{ring[0]}.depends_on", remedy="let one of them wait for none")


def _ring(project: Project, start: str, done: set[str]) -> list[str]:
    way: list[str] = []
    on_way: set[str] = set()
    waiting: list[tuple[str, bool]] = [(start, False)]
    while waiting:
        name, left = waiting.pop()
        if left:
            way.pop()
            on_way.discard(name)
            done.add(name)
            continue
        if name in on_way:
            return [*way[way.index(name) :], name]
        if name in done or name not in project.services:
            continue
        way.append(name)
        on_way.add(name)
        waiting.append((name, True))
        waiting += [(each, False) for each in sorted(project.services[name].depends_on, reverse=True)]
    return []
