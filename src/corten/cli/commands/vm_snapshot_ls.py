"""corten vm snapshot ls: list a machine's snapshots."""

from __future__ import annotations

from corten.cli.columns import align
from corten.cli.command import Command
from corten.cli.flags import BOOL, flag
from corten.cli.output import out
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    found = machines.snapshots(session.client, flags.words[0])
    if flags.on("quiet"):
        lines = [one["Name"] for one in found]
    else:
        rows = ["\t".join((one["Name"], one["Created"][:19], *map(_word, (one["Memory"], one.get("External")))))
                for one in found]  # fmt: skip
        lines = [align("\n".join(["NAME\tCREATED\tMEMORY\tEXTERNAL", *rows]))]
    if lines:
        out("\n".join(lines))
    return 0


def _word(there: object) -> str:
    return "yes" if there else "no"


COMMAND = Command(
    run, "[OPTIONS] MACHINE", "List a machine's snapshots", (flag("quiet", BOOL, "Only names", "q"),), least=1, most=1
)
