"""corten vm device add: plug a disk, a device of this host or a network device into a machine."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import STRING, flag
from corten.cli.options.machines import parse_device, parse_disk
from corten.cli.options.networks import parse_network
from corten.cli.output import out
from corten.client import machines
from corten.spec.docker.machine import MachineDevice, MachineNetwork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    name, disk, device, network = flags.words[0], *map(flags.text, ("disk", "device", "network"))
    if sum(map(bool, (disk, device, network))) != 1:
        raise CommandError("one of --disk, --device and --network says what is plugged in")
    if disk or device:
        asked = parse_disk(disk) if disk else parse_device(device)
        if isinstance(asked, MachineDevice):
            out(machines.add_device(session.client, name, asked))
        else:
            out(machines.add_disk(session.client, name, asked))
        return 0
    try:
        wanted = parse_network(network)
    except ValueError as error:
        raise CommandError(f"invalid network: {error}") from None
    machines.connect(session.client, name, MachineNetwork(network=wanted.name, endpoint_config=wanted.endpoint))
    out(wanted.name)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE",
    "Plug a disk, a device of the host or a network into a machine",
    (
        flag("device", STRING, "Device of the host, as 'vm create' takes it (/dev/sdb, usb=046d:c52b)"),
        flag("disk", STRING, "Disk, as 'vm create' takes it (20g, FILE.qcow2, a volume, KEY=VALUE,...)"),
        flag("network", STRING, "Network, for one more interface"),
    ),
    least=1,
    most=1,
)
