"""corten ps: list containers."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, FILTER, INT, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.container import COLUMNS, CONTAINER
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    template = flags.text("format") if flags.on("quiet") else session.format(flags.text("format"), "psFormat")
    size = flags.on("size") or listing.mentions(template, "Size")
    limit = 1 if flags.on("latest") and flags.number("last") == -1 else flags.number("last")
    found = containers.listing(
        session.client, flags.on("all"), limit, size, listing.parse_filters(flags.many("filter"))
    )
    rows = [listing.Row(CONTAINER, one, full=flags.on("no-trunc")) for one in found]
    columns = (*COLUMNS, "Size") if flags.on("size") else COLUMNS
    listing.show(CONTAINER, rows, template, columns, quiet="ID" if flags.on("quiet") else "")
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "List containers",
    (
        flag("all", BOOL, "Those that do not run as well", "a"),
        flag("filter", FILTER, "Only those that match (name=value)", "f"),
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("last", INT, "The newest so many, running or not", "n", default=-1),
        flag("latest", BOOL, "The newest, running or not", "l"),
        flag("no-trunc", BOOL, "Do not shorten what is shown"),
        flag("quiet", BOOL, "Only IDs", "q"),
        flag("size", BOOL, "Show sizes", "s"),
    ),
    most=0,
)
