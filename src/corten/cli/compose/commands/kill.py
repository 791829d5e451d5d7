"""corten compose kill: send a signal to containers."""

from __future__ import annotations

from corten.cli.compose.choosing import chosen
from corten.cli.compose.context import Command
from corten.cli.compose.verbs import do
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import err
from corten.compose.plan import verbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    found = chosen(compose, flags.words, everything=False)
    if not found:
        err("no container to kill")
    code = do(compose, found, verbs.kill(found, flags.text("signal")))
    if flags.on("remove-orphans"):
        project = compose.project_if_any()
        known = {*project.services, *project.disabled} if project is not None else set()
        orphans = [
            each for each in chosen(compose, [], orphans=True) if project is not None and each.service not in known
        ]
        do(compose, orphans, verbs.remove(orphans, volumes=False))
    return code


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "Kill containers",
    (
        flag("remove-orphans", BOOL, "Remove containers of services that the files do not have"),
        flag("signal", STRING, "The signal", "s", default="SIGKILL"),
    ),
)
