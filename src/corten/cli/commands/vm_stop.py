"""corten vm stop: shut machines down."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.flags import BOOL, INT, flag
from corten.cli.output import err
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    seconds = 0 if flags.on("force") else flags.number("timeout") if "timeout" in flags else None

    def stop(name: str) -> None:
        if machines.stop(session.client, name, seconds) and not flags.on("force"):
            err(f"{name} has not shut down in time, and was ended")

    return each(flags.words, stop)


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE [MACHINE...]",
    "Shut machines down",
    (
        flag("force", BOOL, "End them at once", "f"),
        flag("timeout", INT, "Seconds until one is ended that does not shut down, -1 for never (default 60)", "t"),
    ),
    least=1,
)
