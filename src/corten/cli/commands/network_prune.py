"""corten network prune: remove networks that nothing uses."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, FILTER, flag
from corten.cli.output import out
from corten.cli.pruning import confirmed, filters
from corten.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


WARNING = "This will remove all custom networks not used by at least one container."


def run(session: Session, flags: Flags) -> int:
    if not flags.on("force") and not confirmed(WARNING):
        return 0
    deleted = networks.prune(session.client, filters(session, flags.many("filter"))).get("NetworksDeleted")
    if deleted:
        out("Deleted Networks:\n" + "\n".join(deleted) + "\n")
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Remove networks that nothing uses",
    (
        flag("filter", FILTER, "Only those that match (until=TIME, label=NAME)"),
        flag("force", BOOL, "Do not ask", "f"),
    ),
    most=0,
)
