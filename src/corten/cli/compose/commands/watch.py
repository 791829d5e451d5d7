"""corten compose watch: bring what changes here into containers."""

from __future__ import annotations

from corten.cli.compose.commands.up import ready
from corten.cli.compose.context import Command
from corten.cli.compose.performing import perform, provided
from corten.cli.compose.watching import watch, watched
from corten.cli.flags import BOOL, STRING, flag
from corten.compose.observed import observe
from corten.compose.plan.asked import Asked
from corten.compose.plan.up import up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    project = compose.project(flags.words)
    found = watched(project, flags.words)
    if not flags.on("no-up"):
        project = provided(compose, project)
        ready(compose, project, flags)
        observed = observe(compose.client, project)
        perform(compose, project, observed, up(project, observed, Asked(named=tuple(flags.words))))
    if compose.dry_run:
        return 0
    names = sorted({each.service.name for each in found})
    watch(compose, project, names, flags.on("quiet"))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "Bring changed files into containers",
    (
        flag("build", BOOL, "Build images first", default=True, hidden=True),
        flag("no-build", BOOL, "Build no image first", hidden=True),
        flag("no-up", BOOL, "Do not start the services first"),
        flag("prune", BOOL, "Accepted and not used", default=True, hidden=True),
        flag("pull", STRING, "When images are pulled", default="policy", hidden=True),
        flag("quiet", BOOL, "Build without showing progress"),
        flag("quiet-pull", BOOL, "Pull without showing progress", hidden=True),
    ),
)
