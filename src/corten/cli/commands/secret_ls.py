"""corten secret ls: list secrets."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, FILTER, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.secret import COLUMNS, SECRET
from corten.client import secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    found = secrets.listing(session.client, listing.parse_filters(flags.many("filter")))
    template = flags.text("format") if flags.on("quiet") else session.format(flags.text("format"), "secretFormat")
    rows = [listing.Row(SECRET, one) for one in found]
    listing.show(SECRET, rows, template, COLUMNS, quiet="ID" if flags.on("quiet") else "")
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "List secrets",
    (
        flag("filter", FILTER, "Only those that match (name=value)", "f"),
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("quiet", BOOL, "Only ids", "q"),
    ),
    most=0,
)
