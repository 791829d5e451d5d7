"""corten compose pause: suspend all processes of services."""

from __future__ import annotations

from corten.cli.compose.choosing import chosen
from corten.cli.compose.context import Command
from corten.cli.compose.verbs import do
from corten.compose.plan import verbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    found = chosen(compose, flags.words, everything=False)
    return do(compose, found, verbs.pause(found))


COMMAND = Command(run, "[SERVICE...]", "Suspend all processes of services")
