"""corten network inspect: everything known about networks."""

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
    def find(name: str) -> tuple[str, bytes]:
        return "network", session.client.raw(
            "GET", f"/networks/{named('network', name)}", {"verbose": truth(flags.on("verbose"))}
        )

    return inspect(flags.words, flags.text("format"), find)


COMMAND = Command(
    run,
    "[OPTIONS] NETWORK [NETWORK...]",
    "Show everything known about networks",
    (
        flag("format", STRING, "'json', or a Go template", "f"),
        flag("verbose", BOOL, "Show what belongs to other nodes as well", "v"),
    ),
    least=1,
)
