"""corten vm addresses: the addresses that a machine itself sees."""

from __future__ import annotations

from corten.cli.columns import align
from corten.cli.command import Command
from corten.cli.output import out
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    found = machines.addresses(session.client, flags.words[0])
    rows = [f"{one['Name']}\t{one['MacAddress']}\t{', '.join(one['Addresses'])}" for one in found]
    out(align("\n".join(["INTERFACE\tMAC\tADDRESSES", *rows])))
    return 0


COMMAND = Command(
    run, "MACHINE", "Show the addresses that a machine itself sees, by QEMU's agent there", least=1, most=1
)
