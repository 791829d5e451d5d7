"""corten compose commit: make an image of a service's container."""

from __future__ import annotations

from corten.cli.commands.commit import COMMAND as COMMIT
from corten.cli.commands.commit import committed
from corten.cli.compose.choosing import one
from corten.cli.compose.context import Command
from corten.cli.compose.passing import given
from corten.cli.compose.reporting import report
from corten.cli.flags import BOOL, INT, LIST, STRING, flag, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    container = one(compose, flags.words[0], flags.number("index"))
    words = [*given(flags, "author", "change", "message", "pause"), container.id, *flags.words[1:]]
    shown = report(compose.progress, compose.dry_run)
    shown.event("Container", container.name, "Committing")
    id = "" if compose.dry_run else committed(compose.client, parse(COMMIT.flags, words))
    shown.event("Container", container.name, f"Committed as {id}".removesuffix(" as "))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] SERVICE [REPOSITORY[:TAG]]",
    "Make an image of a service's container",
    (
        flag("author", STRING, "Who made it", "a"),
        flag("change", LIST, "Apply a Dockerfile instruction to the image", "c"),
        flag("index", INT, "Of the container with this number"),
        flag("message", STRING, "Message of the image's history", "m"),
        flag("pause", BOOL, "Suspend the container meanwhile", "p", default=True),
    ),
    least=1,
    most=2,
)
