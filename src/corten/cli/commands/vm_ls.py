"""corten vm ls: list machines."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, FILTER, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.machine import COLUMNS, MACHINE
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    found = machines.listing(session.client, flags.on("all"), listing.parse_filters(flags.many("filter")))
    rows = [listing.Row(MACHINE, one, full=flags.on("no-trunc")) for one in found]
    listing.show(MACHINE, rows, flags.text("format"), COLUMNS, quiet="Name" if flags.on("quiet") else "")
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "List machines",
    (
        flag("all", BOOL, "Those that do not run as well", "a"),
        flag("filter", FILTER, "Only those that match (name=value)", "f"),
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("no-trunc", BOOL, "Do not shorten"),
        flag("quiet", BOOL, "Only names", "q"),
    ),
    most=0,
)
