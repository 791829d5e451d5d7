"""corten vm device rm: take a disk, a device of this host or a network device out of a machine."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import STRING, flag
from corten.cli.options.machines import parse_device
from corten.cli.output import out
from corten.client import machines
from corten.spec.docker.machine import MachineDevice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    name, disk, device, network = flags.words[0], *map(flags.text, ("disk", "device", "network"))
    if sum(map(bool, (disk, device, network))) != 1:
        raise CommandError("one of --disk, --device and --network says what is taken out")
    asked = parse_device(device) if device else None
    if isinstance(asked, MachineDevice):
        machines.take_out_device(session.client, name, asked)
    else:
        disk = asked.device if asked else disk
        machines.take_out(session.client, name, "disks" if disk else "networks", disk or network)
    out(device or disk or network)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE",
    "Take a disk, a device of the host or a network out of a machine",
    (
        flag("device", STRING, "Device of the host, as it was given"),
        flag("disk", STRING, "Disk, by its name (disk1) or its volume, which stays"),
        flag("network", STRING, "Network"),
    ),
    least=1,
    most=1,
)
