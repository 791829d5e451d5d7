"""corten compose: services that Compose files describe. Its own flags and commands are in `cli/compose`."""

from __future__ import annotations

from corten.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    from corten.cli import libraries

    libraries.find()
    from corten.cli.compose import entry

    return entry.run(session, flags.words)


COMMAND = Command(run, "[OPTIONS] COMMAND", "Run the services that Compose files describe", raw=True)
