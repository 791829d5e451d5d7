"""corten rmi: remove images."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.flags import BOOL, LIST, flag
from corten.cli.output import out
from corten.cli.platforms import as_json
from corten.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    platforms = [as_json(text) for text in flags.many("platform")]

    def remove(name: str) -> None:
        for change in images.remove(session.client, name, flags.on("force"), flags.on("no-prune"), platforms):
            out(f"Deleted: {change['Deleted']}" if change.get("Deleted") else f"Untagged: {change['Untagged']}")

    # With --force, what is gone already is what was wanted.
    return each(flags.words, remove, echo=False, forgive=lambda error: flags.on("force") and error.status == 404)


COMMAND = Command(
    run,
    "[OPTIONS] IMAGE [IMAGE...]",
    "Remove images",
    (
        flag("force", BOOL, "Remove it although it has other names or stopped containers", "f"),
        flag("no-prune", BOOL, "Keep parents that have no name"),
        flag("platform", LIST, "Remove this platform of it only (os/arch/variant)"),
    ),
    least=1,
)
