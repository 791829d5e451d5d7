"""corten top: list the processes of a container."""

from __future__ import annotations

from corten.cli.columns import align
from corten.cli.command import Command
from corten.cli.output import out
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


# The table of processes is narrower than the others.
PADDING, MINIMUM = 3, 20


def run(session: Session, flags: Flags) -> int:
    ref, *arguments = flags.words
    table = containers.top(session.client, ref, arguments)
    rows = [table["Titles"], *(table.get("Processes") or [])]
    out(align("\n".join("\t".join(row) for row in rows), MINIMUM, PADDING))
    return 0


COMMAND = Command(run, "CONTAINER [ps OPTIONS]", "List the processes of a container", least=1, interspersed=False)
