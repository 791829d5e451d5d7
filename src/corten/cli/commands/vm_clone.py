"""corten vm clone: make a second machine like another one."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, flag
from corten.cli.output import out
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    name = flags.words[1] if len(flags.words) > 1 else ""
    out(machines.clone(session.client, flags.words[0], name, flags.on("full"))["Name"])
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE [NAME]",
    "Make a second machine like another one",
    (flag("full", BOOL, "Copy the disks, instead of keeping once what both have"),),
    least=1,
    most=2,
)
