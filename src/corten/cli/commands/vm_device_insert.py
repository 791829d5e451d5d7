"""corten vm device insert: put a CD into a machine's drive."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import STRING, flag
from corten.cli.options.machines import parse_disk
from corten.cli.output import out
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    out(machines.insert(session.client, flags.words[0], flags.text("device"), parse_disk(flags.words[1])))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE CD",
    "Put a CD into a machine's drive: FILE.iso, or a volume",
    (flag("device", STRING, "Which drive (default the first)", default="any"),),
    least=2,
    most=2,
)
