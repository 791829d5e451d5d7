"""corten builder prune: remove what builds left to be used again."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, BYTES, FILTER, flag
from corten.cli.pruning import confirmed, filters, reclaimed
from corten.client import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session

UNUSED = "This will remove all dangling build cache."
ALL = "This will remove all build cache."


def run(session: Session, flags: Flags) -> int:
    everything = flags.on("all")
    if not flags.on("force") and not confirmed(ALL if everything else UNUSED):
        return 0
    wanted = filters(session, flags.many("filter"))
    answer = builds.prune(session.client, everything, wanted, flags.number("keep-storage"))
    reclaimed("Deleted build cache objects:", answer.get("CachesDeleted"), answer)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Remove what builds left to be used again",
    (
        flag("all", BOOL, "What images have as well", "a"),
        flag("filter", FILTER, "Only what matches (until=24h, description=RUN)"),
        flag("force", BOOL, "Do not ask", "f"),
        flag("keep-storage", BYTES, "Keep this much of it"),
    ),
    most=0,
)
