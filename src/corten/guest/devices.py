"""What QEMU gives the guest: ports, disks and interfaces, as /sys shows them. They may be plugged in at any time."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from corten.errors import NotFound

_NETLINK_KOBJECT_UEVENT = 15
_KERNELS = 1  # the group of the kernel's own messages

_VIRTIO = "/sys/bus/virtio"
_NETWORK = 1  # a kind of virtio device (include/uapi/linux/virtio_ids.h)
_PATIENCE = 60.0  # seconds for disks to appear
_given: list[str] = []  # nodes of `of_container`

Found = TypeVar("Found")


def wait_for(find: Callable[[], Found | None], deadline: float) -> Found | None:
    """What `find` finds, now or after any device has come; None when `deadline` (CLOCK_MONOTONIC) passes.

    Source: Documentation/ABI/testing/sysfs-uevent; the kernel says of each device that it has come.
    """
    with events() as socket_:
        poll = select.poll()
        poll.register(socket_, select.POLLIN)
        while True:
            if (found := find()) is not None:
                return found
            if (left := deadline - time.monotonic()) <= 0 or not poll.poll(left * 1000):
                return None
            come(socket_)


def events() -> socket.socket:
    """Readable when a device has come or gone."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _NETLINK_KOBJECT_UEVENT)
    made.bind((0, _KERNELS))
    return made


def come(from_: socket.socket) -> str:
    """The path of the device below /sys, of the next event; empty when it is not known, which is any."""
    try:
        return from_.recv(65536).partition(b"\0")[0].partition(b"@")[2].decode(errors="replace")
    except OSError:  # there were more than there was room for (ENOBUFS), or none
        return ""


def put_aside(driver: str) -> None:
    """Take all virtio devices of `driver` from it. They are there, and nothing is known of what they are."""
    directory = f"{_VIRTIO}/drivers/{driver}"
    for name in os.listdir(directory) if os.path.isdir(directory) else ():
        if name.startswith("virtio"):
            _write(f"{directory}/unbind", name)


def take_up(network: bool) -> None:
    """Give all virtio devices that have no driver theirs, which looks at them as they are now. Without `network` an
    interface stays as it is: it leads nowhere."""
    for name in os.listdir(f"{_VIRTIO}/devices") if os.path.isdir(_VIRTIO) else ():
        directory = f"{_VIRTIO}/devices/{name}"
        if not os.path.exists(f"{directory}/driver") and (network or not _is_network(directory)):
            _write(f"{_VIRTIO}/drivers_probe", name)


def _is_network(directory: str) -> bool:
    return int(read(f"{directory}/device"), 16) == _NETWORK


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def read(path: str) -> bytes:
    """All of an attribute. Files of Python's own would do the same by ten times as much code, which is translated anew
    in every emulated guest."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def port(name: str) -> str | None:
    """The node of the virtio port of that name."""
    return _named("/sys/class/virtio-ports", "name", name)


def disk(serial: str) -> str | None:
    """The node of the virtio disk with that serial number."""
    return _named("/sys/block", "serial", serial)


def of_container(linux: dict[str, Any], wanted: Iterable[dict[str, Any]]) -> None:
    """Devices of the host that the container is to have, which are disks here: {"serial", "path": in the container,
    "mode", "uid", "gid", "access"}. They are put into the specification with this kernel's numbers. NotFound."""
    deadline = time.monotonic() + _PATIENCE
    for device in wanted:
        node = wait_for(partial(disk, device["serial"]), deadline)
        if node is None:
            raise NotFound(f"the guest has not found the disk for {device['path']}")
        _given.append(node)
        number = os.stat(node).st_rdev
        which = {"type": "b", "major": os.major(number), "minor": os.minor(number)}
        owner = {"fileMode": device["mode"], "uid": device["uid"], "gid": device["gid"]}
        linux.setdefault("devices", []).append({"path": device["path"], **which, **owner})
        linux["resources"]["devices"].append({"allow": True, **which, "access": device["access"]})


def flush() -> None:
    """What was written to these is on the host's device: this kernel is about to end."""
    while _given:
        fd = os.open(_given.pop(), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def interface(mac: str) -> str | None:
    """The name of the network device with that address."""
    found = _named("/sys/class/net", "address", mac.lower())
    return found and os.path.basename(found)


def interface_index(name: str) -> int:
    """Of a network device that sysfs shows. if_nametoindex(3) knows it a little later: the kernel makes a device's
    directory, and says that it has come, before others find it by its name. A change by netlink waits for the rest."""
    return int(read(f"/sys/class/net/{name}/ifindex"))


def _named(directory: str, attribute: str, value: str) -> str | None:
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return None
    wanted = value.encode()
    for name in names:
        try:
            if read(f"{directory}/{name}/{attribute}").strip() == wanted:
                return f"/dev/{name}"
        except OSError:  # it has no such attribute, or went meanwhile
            continue
    return None
