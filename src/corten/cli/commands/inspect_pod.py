"""corten pod inspect: everything known about pods."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import STRING, flag
from corten.cli.inspecting import inspect
from corten.client.http import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    def find(name: str) -> tuple[str, bytes]:
        return "pod", session.client.raw("GET", f"/pods/{named('pod', name)}/json")

    return inspect(flags.words, flags.text("format"), find)


COMMAND = Command(
    run,
    "[OPTIONS] POD [POD...]",
    "Show everything known about pods",
    (flag("format", STRING, "'json', or a Go template", "f"),),
    least=1,
)
