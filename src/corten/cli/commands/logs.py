"""corten logs: what a container has written."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import STDOUT, show_frames, write_all
from corten.client import containers
from corten.client.stdcopy import Frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    return show(session, flags, flags.words[0], flags.on("details"))


def show(session: Session, flags: Flags, ref: str, details: bool = False) -> int:
    """The container's output as the other flags say."""
    from corten.cli.times import timestamp

    tty = bool(containers.inspect(session.client, ref)["Config"].get("Tty"))
    query = {
        "details": containers.truth(details),
        "follow": containers.truth(flags.on("follow")),
        "since": timestamp(flags.text("since"), "since") if flags.text("since") else None,
        "stderr": "1",
        "stdout": "1",
        "tail": flags.text("tail"),
        "timestamps": containers.truth(flags.on("timestamps")),
        "until": timestamp(flags.text("until"), "until") if flags.text("until") else None,
    }
    if flags.on("follow"):
        from corten.cli.following import follow

        follow(session.client, ref, query, tty)
        return 0
    answer = containers.logs(session.client, ref, query)
    frames = Frames()
    for part in answer.parts():
        if tty:
            write_all(STDOUT, part)
        else:
            show_frames(frames.feed(part))
    answer.close()
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER",
    "Show a container's output",
    (
        flag("details", BOOL, "Show extra attributes given to the log"),
        flag("follow", BOOL, "Go on with new output as it comes", "f"),
        flag("since", STRING, "From this time on (2013-01-02T13:23:37Z, or 42m for 42 minutes ago)"),
        flag("tail", STRING, "This many lines from the end", "n", default="all"),
        flag("timestamps", BOOL, "Show when each line was written", "t"),
        flag("until", STRING, "Up to this time (2013-01-02T13:23:37Z, or 42m for 42 minutes ago)"),
    ),
    least=1,
    most=1,
)
