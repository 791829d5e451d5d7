"""How much a machine may read from its disks and write to them: bytes and requests a second (QEMU's throttling)."""

from __future__ import annotations

import msgspec

from corten.errors import Conflict, Invalid
from corten.machines.machine import Machine
from corten.machines.records import Disk, Limits
from corten.spec.docker.machine import MachineLimits

_MOST = 10**15  # QEMU's THROTTLE_VALUE_MAX


def merged(now: Limits, asked: MachineLimits) -> Limits:
    """Invalid for numbers that cannot be."""
    given = {key: value for key, value in vars(asked).items() if key in Limits.__struct_fields__}
    for value in given.values():
        if not 0 <= value <= _MOST:
            raise Invalid(f"a disk's limit is 0 (none) to {_MOST} a second, not {value}")
    return msgspec.structs.replace(now, **given)


async def apply(machine: Machine, disk: Disk) -> None:
    """To a disk of a machine that runs. Conflict for a drive without a CD."""
    assert machine.task is not None
    if disk.empty:
        raise Conflict(f"drive {disk.serial} is empty, and has no limits")
    wanted, device = disk.limits, f"/machine/peripheral/disk{machine.record.begun.places[disk.serial]}"
    device += "/virtio-backend" if disk.bus == "virtio" else ""  # which is the one that has the disk
    given = {"bps": 0, "bps_rd": wanted.read_bps, "bps_wr": wanted.write_bps}
    given |= {"iops": 0, "iops_rd": wanted.read_iops, "iops_wr": wanted.write_iops}
    await machine.task.ask_json("block_set_io_throttle", {"id": device, **given})
