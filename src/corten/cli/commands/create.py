"""corten create: make a container and print its id."""

from __future__ import annotations

from corten.cli import creating
from corten.cli.command import Command
from corten.cli.options import request
from corten.cli.options.table import CONTAINER_FLAGS
from corten.cli.output import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    image, *command = flags.words
    out(creating.create(session, flags, request.create(flags, image, command, session=session)))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create a container",
    CONTAINER_FLAGS,
    least=1,
    interspersed=False,
)
