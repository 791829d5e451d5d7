"""corten kill: send a signal to running containers."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.flags import STRING, flag
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    return each(flags.words, lambda name: containers.kill(session.client, name, flags.text("signal")))


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Stop running containers with a signal",
    (flag("signal", STRING, "Signal to send (KILL unless given)", "s"),),
    least=1,
)
