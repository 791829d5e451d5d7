"""corten secret inspect: everything known about secrets."""

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
        return "secret", session.client.raw("GET", f"/stored-secrets/{named('secret', name)}")

    return inspect(flags.words, flags.text("format"), find)


COMMAND = Command(
    run,
    "[OPTIONS] SECRET [SECRET...]",
    "Show everything known about secrets",
    (flag("format", STRING, "'json', or a Go template", "f"),),
    least=1,
)
