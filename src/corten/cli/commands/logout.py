"""corten logout: forget the credentials of a registry."""

from __future__ import annotations

from corten.cli import userconfig
from corten.cli.command import Command
from corten.cli.output import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(_session: Session, flags: Flags) -> int:
    server = flags.words[0] if flags.words else userconfig.HUB
    out(f"Removing login credentials for {server}")
    userconfig.keep(server, None)
    return 0


COMMAND = Command(run, "[SERVER]", "Log out from a registry", most=1)
