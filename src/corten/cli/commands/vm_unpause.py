"""corten vm unpause: let paused machines go on."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    return each(flags.words, lambda name: machines.act(session.client, name, "unpause"))


COMMAND = Command(run, "MACHINE [MACHINE...]", "Let paused machines go on", least=1)
