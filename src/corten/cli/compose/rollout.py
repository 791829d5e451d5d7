"""`up --rollout`: replicas are replaced one by one, and the project goes back when a new one does not become healthy.

A new container comes up beside the one that it will take the place of, with the same networks and aliases; once it is
ready, the old one is stopped and removed and the new one gets its name. When it does not become ready it is removed,
and the old one was never touched; what was replaced before stays as it is. So a service whose containers publish fixed
ports cannot be replaced this way, and is refused before anything is done.
"""

from __future__ import annotations

from msgspec.structs import replace

from corten.cli.compose.performing import perform as do
from corten.cli.errors import CommandError
from corten.cli.output import err
from corten.compose.plan.asked import NEVER, Asked
from corten.compose.plan.rollout import Replacement, abandon, begin, finish, replacements
from corten.compose.plan.up import up
from corten.compose.refusals import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.compose.model import Project
    from corten.compose.observed import Observed


def perform(compose: Compose, project: Project, observed: Observed, asked: Asked, wait_seconds: float = 0) -> int:
    """Raises CommandError when one did not become ready: what was said of it, and what is in place now."""
    planned = replacements(project, observed, asked)
    done: list[Replacement] = []
    for each in planned:
        try:
            doing = do(compose, project, observed, begin(each), wait_seconds=wait_seconds)
        except (CommandError, Refused) as error:
            do(compose, project, observed, abandon(each, _made(compose, project, each)))
            kept = f"; {len(done)} of {len(planned)} were replaced before" if done else ""
            raise CommandError(f"{error}: {each.old.name} is kept, and its replacement removed{kept}") from None
        if not compose.dry_run:
            do(compose, project, observed, finish(each, doing.id_of(each.name), asked.seconds))
        done.append(each)
    # What is missing, surplus or shared comes last: all that differs has been replaced by now.
    if compose.dry_run:
        return 0
    from corten.compose.observed import observe

    now = observe(compose.client, project)
    do(compose, project, now, up(project, now, replace(asked, recreate=NEVER, recreate_dependencies=NEVER)))
    if not planned:
        err("nothing is to be replaced")
    return 0


def _made(compose: Compose, project: Project, each: Replacement) -> str:
    """The id of the replacement, "" when there is none."""
    from corten.compose.observed import project_containers

    found = project_containers(compose.client, project.name)
    return next((one.id for one in found if one.name == each.temporary), "")
