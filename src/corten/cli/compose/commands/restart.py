"""corten compose restart: stop and start containers."""

from __future__ import annotations

from corten.cli.compose.choosing import chosen
from corten.cli.compose.context import Command
from corten.cli.compose.verbs import do, seconds
from corten.cli.flags import BOOL, INT, flag
from corten.compose.plan import verbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    found = chosen(compose, [])
    chosen(compose, flags.words)
    return do(compose, found, verbs.restart(found, flags.words, seconds(flags), not flags.on("no-deps")))


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "Restart containers",
    (
        flag("no-deps", BOOL, "Not those that ask to be restarted with others"),
        flag("timeout", INT, "Seconds for containers to stop", "t"),
    ),
)
