"""corten builder history inspect: everything known about builds."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import STRING, flag
from corten.cli.inspecting import inspect
from corten.client import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    def find(ref: str) -> tuple[str, bytes]:
        return "build", builds.inspect(session.client, ref)

    return inspect(flags.words, flags.text("format"), find)


COMMAND = Command(
    run,
    "[OPTIONS] REF [REF...]",
    "Show everything known about builds",
    (flag("format", STRING, "'json', or a Go template", "f"),),
    least=1,
)
