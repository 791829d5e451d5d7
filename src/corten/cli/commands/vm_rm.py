"""corten vm rm: remove machines."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.flags import BOOL, flag
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    force, disks = flags.on("force"), flags.on("volumes")
    return each(
        flags.words,
        lambda name: machines.remove(session.client, name, force, disks),
        forgive=lambda error: force and error.status == 404,
    )


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE [MACHINE...]",
    "Remove machines",
    (
        flag("force", BOOL, "End one first that runs", "f"),
        flag("volumes", BOOL, "Remove its disks as well, where nothing else needs them", "v"),
    ),
    least=1,
)
