"""corten image prune: remove images that nothing needs."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, FILTER, flag
from corten.cli.pruning import confirmed, filters, image_lines, reclaimed
from corten.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


DANGLING = "This will remove all dangling images."
ALL = "This will remove all images without at least one container associated to them."


def run(session: Session, flags: Flags) -> int:
    everything = flags.on("all")
    if not flags.on("force") and not confirmed(ALL if everything else DANGLING):
        return 0
    wanted = filters(session, flags.many("filter"))
    wanted.setdefault("dangling", ["false" if everything else "true"])
    answer = images.prune(session.client, wanted)
    reclaimed("Deleted Images:", image_lines(answer), answer)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Remove images that nothing needs",
    (
        flag("all", BOOL, "Those with a name as well, when no container uses them", "a"),
        flag("filter", FILTER, "Only those that match (until=TIME, label=NAME)"),
        flag("force", BOOL, "Do not ask", "f"),
    ),
    most=0,
)
