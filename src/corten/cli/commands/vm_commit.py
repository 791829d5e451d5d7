"""corten vm commit: write what a disk has into what it is based on."""

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
    name, disk = flags.words
    with jobs.shown(session.client, name):
        chain = machines.commit(session.client, name, disk)
    out(" ".join(chain))
    return 0


COMMAND = Command(
    run,
    "MACHINE DISK",
    "Write what a machine's disk has into what it is based on: the two become one",
    least=2,
    most=2,
)
