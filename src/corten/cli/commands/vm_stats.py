"""corten vm stats: what machines use."""

from __future__ import annotations

from corten.cli.columns import align
from corten.cli.command import Command
from corten.cli.output import out
from corten.client import machines
from corten.units.durations import in_go
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    names = flags.words or [one["Name"] for one in machines.listing(session.client, False, {})]
    rows = ["NAME\tCPU TIME\tHOST MEMORY\tGUEST MEMORY\tBLOCK I/O"]
    for name in names:
        one = machines.stats(session.client, name)
        read = sum(disk["ReadBytes"] for disk in one["Disks"].values())
        written = sum(disk["WrittenBytes"] for disk in one["Disks"].values())
        memory = f"{human_size(one['HostMemory'])}\t{human_size(one['GuestMemory'])}"
        used = in_go(round(one["CPUNanoseconds"] / 1e9, 1))
        rows.append(f"{one['Name']}\t{used}\t{memory}\t{human_size(read)} / {human_size(written)}")
    out(align("\n".join(rows)))
    return 0


COMMAND = Command(run, "[MACHINE...]", "Show what machines use of the host")
