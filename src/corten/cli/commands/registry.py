"""corten registry serve: become a registry, with all the words that follow."""

from __future__ import annotations

from corten.cli.become import become
from corten.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(_session: Session, flags: Flags) -> int:
    become("corten.registry.server", flags.words)


COMMAND = Command(run, "--root DIR [OPTIONS]", "Serve images to any OCI client", raw=True)
