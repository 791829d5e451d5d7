"""corten compose down: stop and remove what `up` has made."""

from __future__ import annotations

from corten.cli.compose.choosing import check_services
from corten.cli.compose.context import Command
from corten.cli.compose.performing import perform
from corten.cli.compose.reporting import warn
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, INT, STRING, flag
from corten.compose.model import Project
from corten.compose.observed import Observed, image_ids, project_containers, project_networks, project_volumes
from corten.compose.plan.down import DownAsked, down

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    images = flags.text("rmi")
    if images not in ("", "all", "local"):
        raise CommandError(f"invalid value for --rmi: {images!r}: must be all or local")
    check_services(compose, flags.words)
    bring_down(
        compose,
        DownAsked(
            services=tuple(flags.words),
            seconds=flags.number("timeout") if "timeout" in flags else None,
            volumes=flags.on("volumes"),
            images=images,
            remove_orphans=flags.on("remove-orphans"),
        ),
    )
    return 0


def bring_down(compose: Compose, asked: DownAsked) -> None:
    project = compose.project_if_any()
    if compose.outer.fetched and not compose.dry_run:
        from corten.cli.compose.asking import ask_of_programs

        ask_of_programs(compose, project, yes=False, models=False)
    name = compose.name
    names = [project.image_of(each) for each in project.services.values()] if project and asked.images else []
    observed = Observed(
        tuple(project_containers(compose.client, name)),
        project_networks(compose.client, name),
        project_volumes(compose.client, name) if asked.volumes else {},
        image_ids(compose.client, names)[0] if names else {},
    )
    graph = down(project, observed, asked)
    if not graph.steps and not graph.warnings:
        warn(f'No resource found to remove for project "{name}".')
        return
    perform(compose, project if project is not None else Project(name=name), observed, graph)


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "Stop and remove containers and networks",
    (
        flag("remove-orphans", BOOL, "Remove containers of services that the files do not have"),
        flag("rmi", STRING, "Remove images: all, or local for those without a name of their own"),
        flag("timeout", INT, "Seconds for containers to stop", "t"),
        flag("volumes", BOOL, "Remove volumes as well, with what is in them", "v"),
    ),
)
