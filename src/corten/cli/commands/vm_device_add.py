"""corten vm device add: plug a disk or a network device into a machine."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import STRING, flag
from corten.cli.options.machines import parse_disk
from corten.cli.options.networks import parse_network
from corten.cli.output import out
from corten.client import machines
from corten.spec.docker.machine import MachineNetwork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    name, disk, network = flags.words[0], flags.text("disk"), flags.text("network")
    if bool(disk) == bool(network):
        raise CommandError("either --disk or --network says what is plugged in")
    if disk:
        out(machines.add_disk(session.client, name, parse_disk(disk)))
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
    "Plug a disk or a network into a machine",
    (
        flag("disk", STRING, "Disk, as 'vm create' takes it (20g, FILE.qcow2, a volume, KEY=VALUE,...)"),
        flag("network", STRING, "Network, for one more interface"),
    ),
    least=1,
    most=1,
)
