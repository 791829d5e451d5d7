"""corten compose attach: our terminal to a service's container."""

from __future__ import annotations

from corten.cli.commands.attach import COMMAND as ATTACH
from corten.cli.compose.choosing import one
from corten.cli.compose.context import Command
from corten.cli.compose.passing import given, pass_on
from corten.cli.flags import BOOL, INT, STRING, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    container = one(compose, flags.words[0], flags.number("index"))
    return pass_on(compose, ATTACH, [*given(flags, "detach-keys", "no-stdin", "sig-proxy"), container.id])


COMMAND = Command(
    run,
    "[OPTIONS] SERVICE",
    "Attach your terminal to a service's container",
    (
        flag("detach-keys", STRING, "Keys that leave the container running (ctrl-p,ctrl-q)"),
        flag("index", INT, "To the container with this number"),
        flag("no-stdin", BOOL, "Do not send our input"),
        flag("sig-proxy", BOOL, "Send the signals we get to the container", default=True),
    ),
    least=1,
    most=1,
)
