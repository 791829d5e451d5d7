"""HostConfig.StartAfter, an addition of ours: what a new daemon waits for before it starts a container."""

from __future__ import annotations

from corten.errors import Invalid
from corten.plan.validate.text import check_word
from corten.spec.docker.host_config import HostConfig

CONDITIONS = ("", "started", "healthy", "completed")
MOST = 64  # containers that one can start after
_WITH_DAEMON = ("always", "unless-stopped")


def check_start_after(host: HostConfig) -> list[str]:
    """Its warnings. Raises Invalid; whether the containers exist is checked by the engine."""
    edges = host.start_after or ()
    if len(edges) > MOST:
        raise Invalid(f"a container can start after {MOST} others, and not after {len(edges)}")
    for edge in edges:
        check_word("container to start after", edge.container)
        if not edge.container:
            raise Invalid("a container to start after has no name")
        if edge.condition not in CONDITIONS:
            known = ", ".join(CONDITIONS[1:])
            raise Invalid(f"invalid condition to start after {edge.container}: {edge.condition!r} is none of {known}")
    if edges and host.restart_policy.name not in _WITH_DAEMON:
        return ["StartAfter has no effect: the restart policy starts the container with no daemon"]
    return []
