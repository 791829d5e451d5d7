"""corten vm snapshot rm: remove a machine's snapshots."""

from __future__ import annotations

from corten.cli import jobs
from corten.cli.command import Command
from corten.cli.output import out
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    with jobs.shown(session.client, flags.words[0]):
        machines.remove_snapshot(session.client, flags.words[0], flags.words[1])
    out(flags.words[1])
    return 0


COMMAND = Command(run, "MACHINE SNAPSHOT", "Remove a snapshot of a machine", least=2, most=2)
