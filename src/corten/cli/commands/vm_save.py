"""corten vm save: write machines' memory to the disk and switch them off."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    return each(flags.words, lambda name: machines.act(session.client, name, "save"))


COMMAND = Command(
    run,
    "MACHINE [MACHINE...]",
    "Write machines' memory to the disk and switch them off; start goes on from there",
    least=1,
)
