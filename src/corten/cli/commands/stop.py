"""corten stop: stop running containers."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.flags import INT, STRING, flag
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    given = "timeout" in flags or "time" in flags
    seconds = (flags.number("timeout") if "timeout" in flags else flags.number("time")) if given else None
    return each(flags.words, lambda name: containers.stop(session.client, name, seconds, flags.text("signal")))


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Stop running containers",
    (
        flag("signal", STRING, "Signal that asks the container to end", "s"),
        flag("time", INT, "Seconds until it is killed", hidden=True),
        flag("timeout", INT, "Seconds until it is killed, -1 for never", "t"),
    ),
    least=1,
)
