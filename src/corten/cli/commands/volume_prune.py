"""corten volume prune: remove volumes that nothing uses."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, FILTER, flag
from corten.cli.pruning import confirmed, filters, reclaimed
from corten.client import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


ANONYMOUS = "This will remove anonymous local volumes not used by at least one container."
ALL = "This will remove all local volumes not used by at least one container."


def run(session: Session, flags: Flags) -> int:
    everything = flags.on("all")
    if not flags.on("force") and not confirmed(ALL if everything else ANONYMOUS):
        return 0
    wanted = filters(session, flags.many("filter"))
    if everything and session.client.at_least("1.42"):
        wanted["all"] = ["true"]
    answer = volumes.prune(session.client, wanted)
    reclaimed("Deleted Volumes:", answer.get("VolumesDeleted"), answer)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Remove volumes that nothing uses",
    (
        flag("all", BOOL, "Those with a name as well", "a"),
        flag("filter", FILTER, "Only those that match (label=NAME)"),
        flag("force", BOOL, "Do not ask", "f"),
    ),
    most=0,
)
