"""corten rm: remove containers."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.flags import BOOL, flag
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    force, volumes, link = flags.on("force"), flags.on("volumes"), flags.on("link")

    def remove(name: str) -> None:
        ref = name.strip("/") if not link else name.lstrip("/")
        containers.remove(session.client, ref, force, volumes, link)

    # With --force, what is gone already is what was wanted.
    return each(flags.words, remove, forgive=lambda error: force and error.status == 404)


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Remove containers",
    (
        flag("force", BOOL, "Kill it first if it runs", "f"),
        flag("link", BOOL, "Remove the link, not the container", "l"),
        flag("volumes", BOOL, "Remove its anonymous volumes as well", "v"),
    ),
    least=1,
)
