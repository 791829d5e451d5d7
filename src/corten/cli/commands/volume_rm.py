"""corten volume rm: remove volumes."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.flags import BOOL, flag
from corten.client import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    return each(flags.words, lambda name: volumes.remove(session.client, name, flags.on("force")))


COMMAND = Command(
    run,
    "[OPTIONS] VOLUME [VOLUME...]",
    "Remove volumes",
    (flag("force", BOOL, "Do not mind one that does not exist", "f"),),
    least=1,
)
