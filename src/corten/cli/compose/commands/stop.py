"""corten compose stop: stop containers, those first that depend on others."""

from __future__ import annotations

from corten.cli.compose.choosing import chosen
from corten.cli.compose.context import Command
from corten.cli.compose.verbs import do, seconds
from corten.cli.flags import INT, flag
from corten.compose.plan import verbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    found = chosen(compose, flags.words)
    return do(compose, found, verbs.stopping(found, seconds(flags)))


COMMAND = Command(
    run, "[OPTIONS] [SERVICE...]", "Stop containers", (flag("timeout", INT, "Seconds for containers to stop", "t"),)
)
