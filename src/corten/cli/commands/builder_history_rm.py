"""corten builder history rm: remove builds from the history."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, flag
from corten.client import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    everything = flags.on("all")
    if everything == bool(flags.words):
        raise CommandError("name the builds to remove, or say --all")
    ended = [one["Ref"] for one in builds.history(session.client) if one["State"] != "running"] if everything else []
    return each(ended or flags.words, lambda ref: builds.remove(session.client, ref))


COMMAND = Command(
    run,
    "[OPTIONS] [REF...]",
    "Remove builds from the history",
    (flag("all", BOOL, "All that have ended", "a"),),
)
