"""corten builder cache import: make the directory of a cache mount of a tar."""

from __future__ import annotations

from corten.cli.archives import input_parts
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, flag
from corten.cli.terminal import is_terminal
from corten.client import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    id, path = (*flags.words, "")[:2]
    path = "" if path == "-" else path
    if not path and is_terminal(0):
        raise CommandError("requested import from stdin, but stdin is a terminal")
    builds.import_cache(session.client, id, input_parts(path, path), flags.on("replace"))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] ID [FILE | -]",
    "Make the directory of a cache mount of a tar",
    (flag("replace", BOOL, "In the place of one that is there"),),
    least=1,
    most=2,
)
