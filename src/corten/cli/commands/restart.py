"""corten restart: stop and start containers."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.stopping import STOP_FLAGS, patience
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    seconds = patience(flags)
    return each(flags.words, lambda name: containers.restart(session.client, name, seconds, flags.text("signal")))


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Stop and start containers",
    STOP_FLAGS,
    least=1,
)
