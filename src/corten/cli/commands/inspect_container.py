"""corten container inspect: everything known about containers."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.inspecting import inspect
from corten.client.containers import truth
from corten.client.http import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    query = {"size": truth(flags.on("size"))}

    def find(name: str) -> tuple[str, bytes]:
        return "container", session.client.raw("GET", f"/containers/{named('container', name)}/json", query)

    return inspect(flags.words, flags.text("format"), find)


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Show everything known about containers",
    (
        flag("format", STRING, "'json', or a Go template", "f"),
        flag("size", BOOL, "Show sizes", "s"),
    ),
    least=1,
)
