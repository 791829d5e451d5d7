"""corten history: how an image came about."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.history import COLUMNS, HISTORY, MACHINE_COLUMNS
from corten.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    found = images.history(session.client, flags.words[0])
    extra = {"human": flags.on("human")}
    rows = [listing.Row(HISTORY, one, flags.on("no-trunc"), extra) for one in found]
    columns = COLUMNS if flags.on("human") else MACHINE_COLUMNS
    listing.show(HISTORY, rows, flags.text("format"), columns, quiet="ID" if flags.on("quiet") else "")
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] IMAGE",
    "Show how an image came about",
    (
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("human", BOOL, "Sizes and times for people", "H", default=True),
        flag("no-trunc", BOOL, "Do not shorten what is shown"),
        flag("quiet", BOOL, "Only IDs", "q"),
    ),
    least=1,
    most=1,
)
