"""corten vm update: change a machine's memory, processors, disks."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BYTES, INT, MAP, STRING, flag
from corten.cli.options.machines import parse_disk
from corten.cli.output import out
from corten.client import machines
from corten.spec.docker.machine import MachineLimits, MachineUpdate
from corten.spec.docker.struct import UNSET
from corten.units.sizes import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


_LIMITS = {
    "device-read-bps": "read_bps",
    "device-read-iops": "read_iops",
    "device-write-bps": "write_bps",
    "device-write-iops": "write_iops",
}


def run(session: Session, flags: Flags) -> int:
    if not flags.given:
        raise CommandError("you must provide one or more flags when using this command")
    asked = MachineUpdate(
        memory=flags.number("memory") or UNSET,
        cpus=flags.number("cpus") or UNSET,
        disks=flags.pairs("disk") or UNSET,
        limits=_limits(flags) or UNSET,
        net_rate=flags.text("net-rate") if "net-rate" in flags else UNSET,
    )
    inserted = flags.text("cdrom")
    for name in flags.words:
        if inserted:
            out(f"{name}: {machines.insert(session.client, name, 'any', parse_disk(inserted))}: done")
        if flags.given <= {"cdrom"}:
            continue
        for what, how in machines.update(session.client, name, asked).items():
            out(f"{name}: {what}: {'done' if how == 'live' else 'with the next start'}")
    return 0


def _limits(flags: Flags) -> dict[str, MachineLimits]:
    found: dict[str, dict[str, int]] = {}
    for name, key in _LIMITS.items():
        for disk, text in flags.pairs(name).items():
            try:
                found.setdefault(disk, {})[key] = parse_bytes(text) if key.endswith("bps") else int(text)
            except ValueError:
                raise CommandError(f"invalid --{name} {disk}={text}: as disk0=10m, 0 for none") from None
    return {disk: MachineLimits(**values) for disk, values in found.items()}


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE [MACHINE...]",
    "Change a machine: memory, processors, disks, its CD",
    (
        flag("cdrom", STRING, "Change the CD (FILE.iso, or a volume)"),
        flag("cpus", INT, "Processors"),
        flag("device-read-bps", MAP, "Bytes a second read from a disk (disk0=10m; 0: no limit)"),
        flag("device-read-iops", MAP, "Reads a second of a disk"),
        flag("device-write-bps", MAP, "Bytes a second written to a disk"),
        flag("device-write-iops", MAP, "Writes a second of a disk"),
        flag("disk", MAP, "Let a disk grow (disk0=40g, or by its volume)"),
        flag("memory", BYTES, "Memory", "m"),
        flag("net-rate", STRING, "Limit each interface's traffic (10mbit, egress=10mbit,ingress=1gbit; none)"),
    ),
    least=1,
)
