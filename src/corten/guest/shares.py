"""Directories of the host: one virtio-fs file system, mounted where no container sees it (`planning.SHARES`).

What serves it may be killed, and a process that looks into it then waits for ever. So this process does it only while
a container is made, for which the host waits as long as it will and then ends the machine; afterwards the container's
own processes do, and those that work in its tree.
"""

from __future__ import annotations

import os
import time

from corten.errors import NotFound
from corten.guest import devices
from corten.kernel import mount as m
from corten.vm import planning
from corten.vm.contract import TAG

_PATIENCE = 60.0  # seconds for the device to appear


def mount() -> None:
    """NotFound when the guest is given none."""
    fd = devices.wait_for(_mounted, time.monotonic() + _PATIENCE)
    if fd is None:
        raise NotFound("the host shares no directories with this guest")
    os.makedirs(planning.SHARES, 0o700, exist_ok=True)
    m.move_to(fd, planning.SHARES)
    os.close(fd)


def _mounted() -> int | None:
    """Devices of the host have no meaning here: none can be opened there."""
    try:
        return m.new("virtiofs", (), m.MOUNT_ATTR_NODEV, TAG)
    except OSError:  # EINVAL: there is no such tag, yet
        return None
