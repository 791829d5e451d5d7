"""corten vm snapshot create: take a snapshot of a machine."""

from __future__ import annotations

from corten.cli import jobs
from corten.cli.command import Command
from corten.cli.flags import BOOL, flag
from corten.cli.output import out
from corten.client import machines
from corten.spec.docker.machine import MachineSnapshot
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    name = flags.words[0]
    asked = MachineSnapshot(
        name=flags.words[1] if len(flags.words) > 1 else "",
        external=flags.on("external") or UNSET,
        disk_only=flags.on("disk-only") or UNSET,
        quiesce=flags.on("quiesce") or UNSET,
    )
    with jobs.shown(session.client, name):
        made = machines.snapshot(session.client, name, asked)
    out(made["Name"])
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE [NAME]",
    "Take a snapshot of a machine, with its memory when it runs",
    (
        flag("disk-only", BOOL, "Without memory; an external one"),
        flag("external", BOOL, "What is on the disks becomes volumes of their own, and memory a file"),
        flag("quiesce", BOOL, "Freeze file systems for that moment, by QEMU's agent there; an external one"),
    ),
    least=1,
    most=2,
)
