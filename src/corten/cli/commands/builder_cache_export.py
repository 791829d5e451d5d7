"""corten builder cache export: the directory of a cache mount as a tar."""

from __future__ import annotations

from corten.cli.archives import save_to
from corten.cli.command import Command
from corten.cli.flags import STRING, flag
from corten.client import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    save_to(flags.text("output"), lambda: builds.export_cache(session.client, flags.words[0]))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] ID",
    "Write the directory of a cache mount as a tar",
    (flag("output", STRING, "Write to this file instead of STDOUT", "o"),),
    least=1,
    most=1,
)
