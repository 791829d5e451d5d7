"""corten compose stats: what containers use of the machine."""

from __future__ import annotations

from corten.cli.commands.stats import COMMAND as STATS
from corten.cli.compose.choosing import chosen
from corten.cli.compose.context import Command
from corten.cli.compose.passing import given, pass_on
from corten.cli.flags import BOOL, STRING, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    found = chosen(compose, flags.words, everything=flags.on("all"))
    if not found:
        return 0
    words = given(flags, "format", "no-stream", "no-trunc")
    return pass_on(compose, STATS, [*words, *(each.id for each in found)])


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE]",
    "Show what containers use of the machine",
    (
        flag("all", BOOL, "Also those that do not run", "a"),
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("no-stream", BOOL, "Once, and end"),
        flag("no-trunc", BOOL, "Whole ids"),
    ),
    most=1,
)
