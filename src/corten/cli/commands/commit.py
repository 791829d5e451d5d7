"""corten commit: make an image of a container."""

from __future__ import annotations

from corten.cli import pulling
from corten.cli.command import Command
from corten.cli.flags import BOOL, LIST, STRING, flag
from corten.cli.output import out
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    repository, tag = pulling.split(flags.words[1]) if len(flags.words) > 1 else ("", "")
    pause = flags.on("pause") and not flags.on("no-pause")
    query: dict[str, str | None] = {
        "author": flags.text("author") or None,
        "comment": flags.text("message") or None,
        "container": flags.words[0],
        "repo": repository or None,
        "tag": tag or None,
        "pause": None if pause else "0",
        "changes": "\n".join(flags.many("change")) or None,
    }
    out(containers.commit(session.client, query)["Id"])
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    "Make an image of a container",
    (
        flag("author", STRING, "Who made it", "a"),
        flag("change", LIST, "Apply a Dockerfile instruction to the image", "c"),
        flag("message", STRING, "Message of the image's history", "m"),
        flag("no-pause", BOOL, "Do not suspend the container meanwhile"),
        flag("pause", BOOL, "Suspend the container meanwhile", "p", default=True, hidden=True),
    ),
    least=1,
    most=2,
)
