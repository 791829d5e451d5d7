"""corten volume create: make a volume and print its name."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import LABEL, MAP, STRING, flag
from corten.cli.output import out
from corten.client import volumes
from corten.spec.docker.struct import UNSET
from corten.spec.docker.volume import VolumeCreate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    name = flags.text("name")
    if flags.words:
        if name:
            raise CommandError(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg"
            )
        name = flags.words[0]
    config = VolumeCreate(
        name=name or UNSET,
        driver=flags.text("driver"),
        driver_opts=flags.pairs("opt"),
        labels=flags.pairs("label"),
    )
    out(volumes.create(session.client, config)["Name"])
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] [VOLUME]",
    "Make a volume",
    (
        flag("driver", STRING, "Driver of the volume", "d", default="local"),
        flag("label", LABEL, "Attach a label"),
        flag("name", STRING, "Name of the volume", hidden=True),
        flag("opt", MAP, "Option of the driver", "o"),
    ),
    most=1,
)
