"""corten vm backup: back a machine's disk up, to a volume."""

from __future__ import annotations

from corten.cli import jobs
from corten.cli.command import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import err, out
from corten.client import machines
from corten.spec.docker.machine import MachineBackup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    name, volume = flags.words
    asked = MachineBackup(volume=volume, disk=flags.text("disk"), full=flags.on("full"), quiesce=flags.on("quiesce"))
    with jobs.shown(session.client, name):
        done = machines.backup(session.client, name, asked)
    what = f"what has changed since {done['Base']}" if done["Base"] else "all of it"
    err(f"{done['Disk']}: {what}")
    out(volume)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE VOLUME",
    "Back a machine's disk up to a new volume: what has changed since the last backup",
    (
        flag("disk", STRING, "Which one, by its name or its volume (default the first)"),
        flag("full", BOOL, "All of it, whatever was backed up before"),
        flag("quiesce", BOOL, "Freeze its file systems for that moment, by QEMU's agent there"),
    ),
    least=2,
    most=2,
)
