"""corten registry gc: free what nothing in a registry needs, also while it is served."""

from __future__ import annotations

from corten.cli.become import become
from corten.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(_session: Session, flags: Flags) -> int:
    become("corten.registry.server", ("gc", *flags.words))


COMMAND = Command(run, "--root DIR [OPTIONS]", "Free what nothing in a registry needs", raw=True)
