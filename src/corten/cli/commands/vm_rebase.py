"""corten vm rebase: let a disk take in what it is based on."""

from __future__ import annotations

from corten.cli import jobs
from corten.cli.command import Command
from corten.cli.flags import STRING, flag
from corten.cli.output import out
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    name, disk = flags.words
    with jobs.shown(session.client, name):
        chain = machines.rebase(session.client, name, disk, flags.text("onto"))
    out(" ".join(chain))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE DISK",
    "Let a machine's disk take in what it is based on, so that it is based on nothing",
    (flag("onto", STRING, "Volume that it stays based on, one of its chain"),),
    least=2,
    most=2,
)
