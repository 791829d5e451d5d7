"""corten secret rm: remove secrets."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.client import secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    return each(flags.words, lambda name: secrets.remove(session.client, name))


COMMAND = Command(run, "SECRET [SECRET...]", "Remove secrets that no container has", (), least=1)
