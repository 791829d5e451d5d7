"""corten compose push: send the images of services to registries."""

from __future__ import annotations

from corten.cli.compose import imaging
from corten.cli.compose.context import Command
from corten.cli.compose.reporting import report
from corten.cli.flags import BOOL, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    project = compose.project(flags.words)
    services = [
        each
        for name, each in sorted(project.services.items())
        if each.build is not None and (not flags.words or flags.on("include-deps") or name in flags.words)
    ]
    shown = report("quiet" if flags.on("quiet") else compose.progress, compose.dry_run)
    if compose.dry_run:
        for each in services:
            shown.event("Service", each.name, "Pushed" if each.image else "Skipped")
        return 0
    return imaging.push_all(compose, services, shown, flags.on("ignore-push-failures"))


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "Send the images of services to registries",
    (
        flag("ignore-push-failures", BOOL, "Go on when an image cannot be sent"),
        flag("include-deps", BOOL, "Those of services that others depend on as well"),
        flag("quiet", BOOL, "Say nothing", "q"),
    ),
)
