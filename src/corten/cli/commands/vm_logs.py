"""corten vm logs: what a machine's serial console has said."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import STDOUT, write_all
from corten.client import containers, machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    from corten.cli.times import timestamp

    since = flags.text("since")
    query = {
        "follow": containers.truth(flags.on("follow")),
        "since": timestamp(since, "since") if since else None,
        "tail": flags.text("tail"),
        "timestamps": containers.truth(flags.on("timestamps")),
    }
    answer = machines.logs(session.client, flags.words[0], query)
    for part in answer.parts():
        write_all(STDOUT, part)
    answer.close()
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE",
    "Show what a machine's serial console has said",
    (
        flag("follow", BOOL, "Go on with new output as it comes", "f"),
        flag("since", STRING, "From this time on (2013-01-02T13:23:37Z, or 42m for 42 minutes ago)"),
        flag("tail", STRING, "This many lines from the end", "n", default="all"),
        flag("timestamps", BOOL, "Show when each line was written", "t"),
    ),
    least=1,
    most=1,
)
