"""corten volume ls: list volumes."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, FILTER, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.volume import COLUMNS, VOLUME
from corten.cli.output import err
from corten.client import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    answer = volumes.listing(session.client, listing.parse_filters(flags.many("filter")))
    for warning in answer.get("Warnings") or ():
        err(f"WARNING: {warning}")
    found = sorted(answer.get("Volumes") or [], key=lambda one: listing.natural(one["Name"]))
    template = flags.text("format") if flags.on("quiet") else session.format(flags.text("format"), "volumesFormat")
    rows = [listing.Row(VOLUME, one) for one in found]
    listing.show(VOLUME, rows, template, COLUMNS, quiet="Name" if flags.on("quiet") else "")
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "List volumes",
    (
        flag("filter", FILTER, "Only those that match (name=value)", "f"),
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("quiet", BOOL, "Only names", "q"),
    ),
    most=0,
)
