"""corten vm reset: press the reset button of machines."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    return each(flags.words, lambda name: machines.act(session.client, name, "reset"))


COMMAND = Command(run, "MACHINE [MACHINE...]", "Reset machines: they boot again, and notice nothing before", least=1)
