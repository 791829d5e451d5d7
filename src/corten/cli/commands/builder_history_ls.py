"""corten builder history ls: the builds that were."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.build import BUILD, COLUMNS
from corten.cli.output import out
from corten.client import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    found = builds.history(session.client)
    if flags.on("quiet"):
        out("\n".join(one["Ref"] for one in found))
        return 0
    listing.show(BUILD, [listing.Row(BUILD, one, flags.on("no-trunc")) for one in found], flags.text("format"), COLUMNS)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "List the builds that were",
    (
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("no-trunc", BOOL, "Show whole references"),
        flag("quiet", BOOL, "Show only references", "q"),
    ),
    most=0,
)
