"""What the commands share that only change the state of containers."""

from __future__ import annotations

from corten.cli.compose.performing import perform
from corten.compose.model import Project
from corten.compose.observed import Container, Observed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags
    from corten.compose.plan.graph import Graph


def seconds(flags: Flags) -> int | None:
    return flags.number("timeout") if "timeout" in flags else None


def do(compose: Compose, found: Sequence[Container], graph: Graph, wait_seconds: float = 0) -> int:
    """Files are read for the hooks of their services, where there are any."""
    project = compose.project_if_any()
    project = project if project is not None else Project(name=compose.name)
    perform(compose, project, Observed(containers=tuple(found)), graph, wait_seconds=wait_seconds)
    return 0
