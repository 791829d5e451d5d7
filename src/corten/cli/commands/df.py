"""corten system df: what takes how much of the disk."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.formats import disk, listing
from corten.cli.output import out
from corten.client import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    if flags.on("verbose"):
        if flags.text("format"):
            raise CommandError("the verbose and the format options conflict")
        out(disk.details(system.disk_usage(session.client)))
        return 0
    rows = disk.rows(system.disk_usage(session.client))
    listing.show(disk.USAGE, rows, flags.text("format"), disk.COLUMNS)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Show what takes how much of the disk",
    (
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("verbose", BOOL, "Show each object", "v"),
    ),
    most=0,
)
