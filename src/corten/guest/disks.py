"""A container's disks in a guest: found by serial number, mounted where its root is made of them.

Each is {"serial", "type": of the file system, "options": [...], "read_only", "directories": [...] to be made in it,
"like": the serial of an earlier one whose root they look like when they are made, or ""}, and is mounted at
`PLACE`/SERIAL, which the container's `rootfs` names.
"""

from __future__ import annotations

import os
import time
from typing import Any

from corten.errors import NotFound
from corten.guest import devices
from corten.kernel import mount as m
from corten.vm import planning

Json = dict[str, Any]

PLACE = planning.DISKS
_PATIENCE = 60.0  # seconds for a disk to appear

_mounted: list[str] = []


def mount(disks: list[Json]) -> None:
    """NotFound for one that does not appear; OSError for one that has another file system."""
    for disk in disks:
        serial = disk["serial"]
        node = devices.wait_for(lambda serial=serial: devices.disk(serial), time.monotonic() + _PATIENCE)  # type: ignore[misc]
        if node is None:
            raise NotFound(f"the guest has no disk {serial}")
        mode = ("ro",) if disk["read_only"] else ()  # of the file system, which opens the device by it
        fd = m.new(disk["type"], (*mode, *disk["options"]), 0, node)
        place = os.path.join(PLACE, serial)
        os.makedirs(place, exist_ok=True)
        m.move_to(fd, place)
        os.close(fd)
        _mounted.append(place)
        for directory in disk["directories"]:
            _make(os.path.join(place, directory), disk.get("like") or "")


def _make(path: str, like: str) -> None:
    """The root of an overlay looks as its upper directory does: it has the mode and owner of the image's. Whole once it
    has its name: the machine may end at any time."""
    if os.path.isdir(path):
        return
    fresh = f"{path}.new"
    os.makedirs(fresh, exist_ok=True)
    if like:
        status = os.stat(os.path.join(PLACE, like))
        os.chown(fresh, status.st_uid, status.st_gid)
        os.chmod(fresh, status.st_mode & 0o7777)
    os.rename(fresh, path)


def unmount() -> None:
    """All that were mounted, last first, with everything written. One that is still in use goes when it is not any
    more. No other file system is synced: what the host shares may never answer."""
    while _mounted:
        place = _mounted.pop()
        m.sync(place)
        m.unmount(place, m.MNT_DETACH)
