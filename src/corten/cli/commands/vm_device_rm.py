"""corten vm device rm: take a disk or a network device out of a machine."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import STRING, flag
from corten.cli.output import out
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    name, disk, network = flags.words[0], flags.text("disk"), flags.text("network")
    if bool(disk) == bool(network):
        raise CommandError("either --disk or --network says what is taken out")
    machines.take_out(session.client, name, "disks" if disk else "networks", disk or network)
    out(disk or network)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE",
    "Take a disk or a network out of a machine",
    (
        flag("disk", STRING, "Disk, by its name (disk1) or its volume, which stays"),
        flag("network", STRING, "Network"),
    ),
    least=1,
    most=1,
)
