"""corten vm export: a machine as one archive, with its disks."""

from __future__ import annotations

from corten.cli.archives import save_to
from corten.cli.command import Command
from corten.cli.flags import STRING, flag
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    save_to(flags.text("output"), lambda: machines.export(session.client, flags.words[0]))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE",
    "Write a machine that is off, with its disks, to one archive (a tar)",
    (flag("output", STRING, "Write to this file instead of STDOUT", "o"),),
    least=1,
    most=1,
)
