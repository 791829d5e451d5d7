"""corten wait: wait until containers stop, and print their exit codes."""

from __future__ import annotations

from corten.cli.again import LOST, again
from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.output import err, out
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    client = session.client

    def wait(name: str) -> None:
        try:
            result = containers.wait(client, name)
        except LOST as lost:
            result = again(lambda: containers.wait(client, name), lost)
        if (result.get("Error") or {}).get("Message"):
            err(str(result["Error"]["Message"]))
        out(str(result["StatusCode"]))

    return each(flags.words, wait, echo=False)


COMMAND = Command(run, "CONTAINER [CONTAINER...]", "Wait until containers stop and print their exit codes", least=1)
