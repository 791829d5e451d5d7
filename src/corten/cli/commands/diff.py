"""corten diff: what a container changed in its file system."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.output import out
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


KINDS = ("C", "A", "D")


def run(session: Session, flags: Flags) -> int:
    lines = [
        f"{KINDS[change['Kind']]} {change['Path']}" for change in containers.changes(session.client, flags.words[0])
    ]
    if lines:
        out("\n".join(lines))
    return 0


COMMAND = Command(run, "CONTAINER", "Show what a container changed in its file system", least=1, most=1)
