"""corten daemon: become cortend, with all the words that follow."""

from __future__ import annotations

from corten.cli.become import become
from corten.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(_session: Session, flags: Flags) -> int:
    become("corten.daemon", flags.words)


COMMAND = Command(run, "[OPTIONS]", "Run the engine (cortend)", raw=True)
