"""corten logout: forget the credentials of a registry."""

from __future__ import annotations

from corten.cli import credentials
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.output import err, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(_session: Session, flags: Flags) -> int:
    server = credentials.server_of(flags.words[0] if flags.words else "")
    out(f"Removing login credentials for {server}")
    try:
        credentials.forget(server)
    except CommandError as error:
        err(f"WARNING: could not erase credentials:\n{server}: {error}")
    return 0


COMMAND = Command(run, "[SERVER]", "Log out from a registry", most=1)
