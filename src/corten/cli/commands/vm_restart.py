"""corten vm restart: shut machines down and start them again."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.flags import INT, flag
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    seconds = flags.number("timeout") if "timeout" in flags else None
    return each(flags.words, lambda name: machines.restart(session.client, name, seconds))


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE [MACHINE...]",
    "Shut machines down and start them again",
    (flag("timeout", INT, "Seconds until one is ended that does not shut down, -1 for never (default 60)", "t"),),
    least=1,
)
