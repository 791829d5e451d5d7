"""corten builder history logs: what a build said."""

from __future__ import annotations

from corten.cli import buildprogress
from corten.cli.command import Command
from corten.cli.flags import STRING, flag
from corten.cli.output import STDOUT
from corten.client import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    view = buildprogress.view(flags.text("progress"), STDOUT)
    for document in builds.logs(session.client, flags.words[0]).documents():
        view.show(document)
    view.end()
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] REF",
    "Show what a build said",
    (flag("progress", STRING, "How it is shown: plain, tty or rawjson", default="plain"),),
    least=1,
    most=1,
)
