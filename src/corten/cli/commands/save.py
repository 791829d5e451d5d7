"""corten save: images as a tar that load reads."""

from __future__ import annotations

from corten.cli.archives import save_to
from corten.cli.command import Command
from corten.cli.flags import STRING, flag
from corten.cli.platforms import as_json
from corten.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    platform = as_json(flags.text("platform"))
    save_to(flags.text("output"), lambda: images.save(session.client, flags.words, platform, flags.text("since")))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] IMAGE [IMAGE...]",
    "Write images as a tar",
    (
        flag("output", STRING, "Write to this file instead of STDOUT", "o"),
        flag("since", STRING, "Leave out the layers of this image: load takes the rest where that image is"),
        flag("platform", STRING, "This platform of them only (os/arch/variant)"),
    ),
    least=1,
)
