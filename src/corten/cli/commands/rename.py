"""corten rename: give a container another name."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    old, new = (word.strip() for word in flags.words)
    if not old or not new:
        raise CommandError("Error: Neither old nor new names may be empty")
    containers.rename(session.client, old, new)
    return 0


COMMAND = Command(run, "CONTAINER NEW_NAME", "Rename a container", least=2, most=2)
