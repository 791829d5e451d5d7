"""corten compose rm: remove stopped containers."""

from __future__ import annotations

from corten.cli.compose.choosing import chosen
from corten.cli.compose.context import Command
from corten.cli.compose.verbs import do
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, flag
from corten.cli.output import err, out
from corten.cli.terminal import is_terminal
from corten.compose.plan import verbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    found = chosen(compose, flags.words)
    if not flags.on("stop"):
        found = [each for each in found if not each.runs]
    if not found:
        err("No stopped containers")
        return 0
    out(f"Going to remove {', '.join(each.name for each in found)}")
    if not flags.on("force") and not compose.dry_run and not _agreed():
        return 0
    return do(compose, found, verbs.remove(found, flags.on("volumes")))


def _agreed() -> bool:
    if not is_terminal(0):
        raise CommandError("standard input is no terminal: use --force to remove without being asked")
    err("Are you sure? [yN] ", end="")
    return input().strip().lower() in ("y", "yes")


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "Remove stopped containers",
    (
        flag("force", BOOL, "Do not ask", "f"),
        flag("stop", BOOL, "Stop them first", "s"),
        flag("volumes", BOOL, "Anonymous volumes of theirs as well", "v"),
    ),
)
