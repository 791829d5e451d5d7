"""corten pod ls: list the pods of a kubelet."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.pod import COLUMNS, POD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    found = sorted(session.client.call("GET", "/pods/json"), key=lambda one: -int(one["created_at"]))
    rows = [listing.Row(POD, one) for one in found]
    listing.show(POD, rows, flags.text("format"), COLUMNS, quiet="ID" if flags.on("quiet") else "")
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "List the pods of a kubelet",
    (
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("quiet", BOOL, "Only ids", "q"),
    ),
    most=0,
)
