"""corten network ls: list networks."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, FILTER, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.network import COLUMNS, NETWORK
from corten.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    found = networks.listing(session.client, listing.parse_filters(flags.many("filter")))
    found.sort(key=lambda one: listing.natural(one["Name"]))
    template = flags.text("format") if flags.on("quiet") else session.format(flags.text("format"), "networksFormat")
    rows = [listing.Row(NETWORK, one, full=flags.on("no-trunc")) for one in found]
    listing.show(NETWORK, rows, template, COLUMNS, quiet="ID" if flags.on("quiet") else "")
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "List networks",
    (
        flag("filter", FILTER, "Only those that match (name=value)", "f"),
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("no-trunc", BOOL, "Do not shorten what is shown"),
        flag("quiet", BOOL, "Only IDs", "q"),
    ),
    most=0,
)
