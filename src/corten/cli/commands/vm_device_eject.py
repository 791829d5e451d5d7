"""corten vm device eject: take the CD out of a machine's drive."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import out
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    machines.eject(session.client, flags.words[0], flags.text("device"), flags.on("force"))
    out(flags.words[0])
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE",
    "Take the CD out of a machine's drive",
    (
        flag("device", STRING, "Which drive (default the first)", default="any"),
        flag("force", BOOL, "Also when the machine uses it", "f"),
    ),
    least=1,
    most=1,
)
