"""corten vm wait: wait until machines have ended."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.output import err, out
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    for name in flags.words:
        ended = machines.wait(session.client, name)
        if ended.get("Error"):
            err(f"{name}: {ended['Error']}")
        out(str(ended["StatusCode"]))
    return 0


COMMAND = Command(run, "MACHINE [MACHINE...]", "Wait until machines have ended, and print how", least=1)
