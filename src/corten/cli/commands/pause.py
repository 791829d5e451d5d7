"""corten pause: suspend all processes of containers."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    return each(flags.words, lambda name: containers.pause(session.client, name))


COMMAND = Command(run, "CONTAINER [CONTAINER...]", "Suspend all processes of containers", least=1)
