"""corten builder cache ls: the directories of cache mounts."""

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
    found = builds.caches(session.client)
    if flags.on("quiet"):
        out("\n".join(dict.fromkeys(each["ID"] for each in found)))
        return 0
    lines = ["ID\tSIZE\tLAST USED\tIN USE"]
    for each in found:
        used, in_use = each["LastUsedAt"].partition(".")[0].removesuffix("Z"), "true" if each["InUse"] else "false"
        lines.append("\t".join([each["ID"], human_size(each["Size"]), used, in_use]))
    out(align("\n".join(lines)))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "List the directories of cache mounts",
    (flag("quiet", BOOL, "Show only ids", "q"),),
    most=0,
)
