"""corten image inspect: everything known about images."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import STRING, flag
from corten.cli.inspecting import inspect
from corten.cli.platforms import as_json
from corten.client.http import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    query = {"platform": as_json(flags.text("platform")) or None}

    def find(name: str) -> tuple[str, bytes]:
        return "image", session.client.raw("GET", f"/images/{named('image', name, b'/:@')}/json", query)

    return inspect(flags.words, flags.text("format"), find)


COMMAND = Command(
    run,
    "[OPTIONS] IMAGE [IMAGE...]",
    "Show everything known about images",
    (
        flag("format", STRING, "'json', or a Go template", "f"),
        flag("platform", STRING, "This platform of the image (os/arch/variant)"),
    ),
    least=1,
)
