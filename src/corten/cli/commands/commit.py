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
    from corten.client.api import Client


def run(session: Session, flags: Flags) -> int:
    out(committed(session.client, flags))
    return 0


def committed(client: Client, flags: Flags) -> str:
    """The id of the new image."""
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
    return str(containers.commit(client, query)["Id"])


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
