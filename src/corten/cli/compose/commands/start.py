"""corten compose start: start containers that are there."""

from __future__ import annotations

from corten.cli.compose.choosing import chosen
from corten.cli.compose.context import Command
from corten.cli.compose.verbs import do
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, INT, flag
from corten.client.quickjson import quote
from corten.compose.observed import CREATED
from corten.compose.plan import verbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags
    from corten.compose.model import Project


def _hooked(project: Project, service: str) -> bool:
    known = project.services.get(service)
    return known is not None and bool(known.pre_start)


def run(compose: Compose, flags: Flags) -> int:
    found = chosen(compose, flags.words)
    if not found and not flags.words:
        raise CommandError(f"no container found for project {quote(compose.name)}: make them with corten compose up")
    project = compose.project_if_any()
    for each in found:
        if each.state == CREATED and project is not None and _hooked(project, each.service):
            raise CommandError(f"container {each.name} is started by up, behind the pre_start of {each.service}")
    wait_seconds = float(flags.number("wait-timeout")) if "wait-timeout" in flags else 0
    return do(compose, found, verbs.start(found, flags.on("wait")), wait_seconds)


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "Start containers",
    (
        flag("wait", BOOL, "Wait until all run or are healthy"),
        flag("wait-timeout", INT, "Seconds for that at most"),
    ),
)
