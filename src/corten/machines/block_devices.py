"""Block devices of this host as disks of machines: opened for a machine alone, and given to QEMU as descriptors.

    fd = await opened(machines, machine.id, "/dev/sdb", read_only=False)

The descriptor is exclusive (open(2), O_EXCL of a block device): the kernel refuses it while the device or a part of it
is mounted, swapped to, or has something else on top (LVM, RAID, a mapping), and refuses all that while it is open,
which is as long as QEMU runs. A name may be a link (/dev/disk/by-id/...), and is looked at again by each start.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from corten.aio.threads import answered
from corten.errors import Conflict, CortenError, Failed, Invalid, NotFound
from corten.kernel import paths
from corten.machines.records import Disk
from corten.vm.board import Layer

if TYPE_CHECKING:
    from corten.machines.machines import Machines

_SECTOR = 512  # bytes: the unit of sysfs, whatever the device's own is
_GONE = (errno.ENXIO, errno.ENODEV, errno.ENOMEDIUM)


async def opened(machines: Machines, own: str, path: str, read_only: bool) -> int:
    """A descriptor, which the caller closes. `own`: the id of the machine that has it, "" for a device that none has
    yet. Invalid, NotFound; Conflict for a device that this host or another machine uses; Unavailable."""
    others = {disk.device: machine.name for machine in machines.by_id.values() if machine.id != own
              for disk in machine.record.disks if disk.device}  # fmt: skip
    return await answered(partial(_opened, path, read_only, others), path, os.close)


def layers(disk: Disk) -> tuple[Layer, ...]:
    """Of a disk that is one."""
    return (Layer("raw", disk.read_only, True),)


def _opened(path: str, read_only: bool, others: dict[str, str]) -> int:
    """`others`: names of the machines that have devices, by their paths."""
    if not os.path.isabs(path):
        raise Invalid(f"{path} is no absolute path of a device on the daemon's machine")
    try:
        seen = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            found = os.fstat(seen)
            if not stat.S_ISBLK(found.st_mode):
                raise Invalid(f"{path} is no block device: a file is copied to a disk, with from={path}")
            _check_unused(path, found.st_rdev, others)
            return paths.reopen(seen, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_EXCL)
        finally:
            os.close(seen)
    except OSError as error:
        raise _problem(path, error) from None


def _problem(path: str, error: OSError) -> CortenError:
    number = error.errno or 0
    if number in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(f"there is no device {path} on the daemon's machine")
    if number in _GONE:
        return NotFound(f"there is nothing behind device {path}: {os.strerror(number).lower()}")
    if number == errno.EBUSY:
        return Conflict(f"device {path} is in use by this host, which has it mounted or something on top: see lsblk")
    if number in (errno.EROFS, errno.EACCES):
        return Invalid(f"device {path} cannot be opened ({os.strerror(number).lower()}): one for reading is readonly")
    return Failed(f"device {path} cannot be opened: {os.strerror(number).lower()}")


def _check_unused(path: str, number: int, others: dict[str, str]) -> None:
    for device, name in others.items():
        with suppress(OSError):  # a device that is gone is in no use
            if os.stat(device).st_rdev == number:
                raise Conflict(f"device {path} is in use by machine {name}")


def size(path: str) -> int:
    """Bytes, without opening it. OSError."""
    number = os.stat(path).st_rdev
    with open(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/size", encoding="ascii") as file:
        return int(file.read()) * _SECTOR
