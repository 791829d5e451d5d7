"""corten compose scale: how many containers services have."""

from __future__ import annotations

from corten.cli.compose.commands.up import scales, without_dependencies
from corten.cli.compose.context import Command
from corten.cli.compose.performing import perform, provided
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, flag
from corten.compose.observed import observe
from corten.compose.plan.asked import DIVERGED, NEVER, Asked
from corten.compose.plan.up import up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    wanted = scales(flags.words)
    project = compose.project(list(wanted))
    if missing := [name for name in wanted if name not in project.services]:
        raise CommandError(f"no such service: {missing[0]}")
    if flags.on("no-deps"):
        project = without_dependencies(project, list(wanted))
    project = provided(compose, project)
    observed = observe(compose.client, project)
    order = Asked(named=tuple(wanted), recreate=DIVERGED, recreate_dependencies=NEVER, scales=wanted)
    perform(compose, project, observed, up(project, observed, order))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] SERVICE=REPLICAS...",
    "Set how many containers services have",
    (flag("no-deps", BOOL, "Do not start what the services depend on"),),
    least=1,
)
