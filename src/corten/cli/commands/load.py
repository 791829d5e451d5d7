"""corten load: load images from a tar, as save makes it."""

from __future__ import annotations

import codecs

from corten.cli.archives import input_parts
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, LIST, STRING, flag
from corten.cli.output import STDOUT, out
from corten.cli.platforms import as_json
from corten.cli.progress import show
from corten.cli.terminal import is_terminal
from corten.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    path = flags.text("input")
    if not path and is_terminal(0):
        raise CommandError("requested load from stdin, but stdin is empty")
    quiet = flags.on("quiet") or not is_terminal(STDOUT)
    platforms = [as_json(text) for text in flags.many("platform")]
    answer = images.load(session.client, input_parts(path, path), quiet, platforms)
    if answer.head.headers.get("content-type", "").startswith("application/json"):
        show(answer.documents(), STDOUT)
    else:
        text = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        for part in answer.parts():
            out(text.decode(bytes(part)), end="")
        out(text.decode(b"", final=True), end="")
    answer.close()
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Load images from a tar on STDIN or in a file",
    (
        flag("input", STRING, "Read this file instead of STDIN", "i"),
        flag("platform", LIST, "Load this platform only (os/arch/variant)"),
        flag("quiet", BOOL, "Show no progress", "q"),
    ),
    most=0,
)
