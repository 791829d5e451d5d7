"""corten vm screenshot: a picture of a machine's screen."""

from __future__ import annotations

import os

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import STRING, flag
from corten.cli.output import STDOUT, out, write_all
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    picture = machines.screenshot(session.client, flags.words[0])
    path = flags.text("output") or f"{flags.words[0]}.png"
    if path == "-":
        if os.isatty(STDOUT):
            raise CommandError("a picture is not written to a terminal: use -o FILE, or redirect it")
        write_all(STDOUT, picture)
        return 0
    with open(path, "wb") as file:
        file.write(picture)
    out(path)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE",
    "Make a picture of a machine's screen",
    (flag("output", STRING, "File to write, - for standard output (default MACHINE.png)", "o"),),
    least=1,
    most=1,
)
