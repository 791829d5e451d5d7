"""corten network rm: remove networks."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.flags import BOOL, flag
from corten.client import networks
from corten.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    def remove(name: str) -> None:
        try:
            networks.remove(session.client, name)
        except ApiError as error:
            # With --force, what is gone already is what was wanted.
            if not (flags.on("force") and error.status == 404):
                raise

    return each(flags.words, remove)


COMMAND = Command(
    run,
    "NETWORK [NETWORK...]",
    "Remove networks",
    (flag("force", BOOL, "Do not mind one that does not exist", "f"),),
    least=1,
)
