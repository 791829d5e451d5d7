"""corten network audit: who can reach which container, and by which address."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.reach import COLUMNS, REACH
from corten.cli.output import err
from corten.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    found = [way for name in flags.words or ["*"] for way in networks.audit(session.client, name)]
    if flags.on("exposed"):
        found = [way for way in found if "outside" in way["From"]]
    for chain in sorted({chain for way in found for chain in way.get("Obstacles") or ()}):
        err(f"WARNING: what comes from elsewhere has to pass {chain} as well, which drops the rest")
    listing.show(REACH, [listing.Row(REACH, way) for way in found], flags.text("format"), COLUMNS)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] [NETWORK...]",
    "Show who can reach which container: this host, other machines (outside), containers by their network",
    (
        flag("exposed", BOOL, "Only what other machines can reach"),
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
    ),
)
