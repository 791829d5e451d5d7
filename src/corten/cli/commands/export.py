"""corten export: the file system of a container as a tar."""

from __future__ import annotations

from corten.cli.archives import save_to
from corten.cli.command import Command
from corten.cli.flags import STRING, flag
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    save_to(flags.text("output"), lambda: containers.export(session.client, flags.words[0]))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER",
    "Write the file system of a container as a tar",
    (flag("output", STRING, "Write to this file instead of STDOUT", "o"),),
    least=1,
    most=1,
)
