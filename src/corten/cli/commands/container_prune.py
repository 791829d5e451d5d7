"""corten container prune: remove stopped containers."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, FILTER, flag
from corten.cli.pruning import confirmed, filters, reclaimed
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


WARNING = "This will remove all stopped containers."


def run(session: Session, flags: Flags) -> int:
    if not flags.on("force") and not confirmed(WARNING):
        return 0
    answer = containers.prune(session.client, filters(session, flags.many("filter")))
    reclaimed("Deleted Containers:", answer.get("ContainersDeleted"), answer)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Remove stopped containers",
    (
        flag("filter", FILTER, "Only those that match (until=TIME, label=NAME)"),
        flag("force", BOOL, "Do not ask", "f"),
    ),
    most=0,
)
