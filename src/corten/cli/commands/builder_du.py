"""corten builder du: what builds left to be used again, and its size."""

from __future__ import annotations

from corten.cli.columns import align
from corten.cli.command import Command
from corten.cli.flags import BOOL, flag
from corten.cli.output import out
from corten.client import builds
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    rows = builds.usage(session.client)
    lines = ["ID\tRECLAIMABLE\tSIZE\tUSED\tDESCRIPTION" if flags.on("verbose") else "ID\tRECLAIMABLE\tSIZE\tUSED"]
    for row in rows:
        free = "false" if row["InUse"] else "true"
        cells = [row["ID"], free, human_size(row["Size"]), str(row["UsageCount"])]
        lines.append("\t".join([*cells, *([row["Description"]] if flags.on("verbose") else [])]))
    out(align("\n".join(lines)))
    private = sum(row["Size"] for row in rows if not row["Shared"])
    free_bytes = sum(row["Size"] for row in rows if not row["Shared"] and not row["InUse"])
    out(f"Reclaimable:\t{human_size(free_bytes)}\nTotal:\t\t{human_size(private)}")
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Show what builds left to be used again",
    (flag("verbose", BOOL, "Show what each is of"),),
    most=0,
)
