"""Devices of the host that a guest drives by itself: what QEMU is asked for, and what of the host its jail has. Pure.

    kind   address                                 by
    pci    0000:01:00.0                            vfio-pci, /dev/vfio/GROUP; a virtual function as well
    mdev   83b8f4f2-509f-382f-3c1e-e6bfe0fa1001    the same
    usb    046d:c52b (vendor:product), 3.5 (bus.number)   usb-host, a descriptor, on a controller that is plugged in

QEMU (7.2, hw/vfio/pci.c) opens VFIO's files by path, and of sysfs it reads the names of the device, of its group and of
its subsystem alone: links, which are made up in the jail, and lead nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

Json = dict[str, Any]
Kind = Literal["pci", "mdev", "usb"]

CONTROLLER = "usb=controller"  # where that is, among the places of devices by their names
_BUS = "usb"  # the controller of USB, and its bus is usb.0
# Bytes that a device may keep in memory beside the guest's memory, for its own (libvirt reckons with as many).
_BESIDE = 1 << 30


class Passed(NamedTuple):
    """`place`: of its port, `group`: of the IOMMU; both -1 for USB."""

    kind: Kind
    address: str
    place: int = -1
    group: int = -1


class Node(NamedTuple):
    """A character device of the jail at `path`, which is the host's at `of`; it belongs to QEMU alone."""

    path: str
    of: str


class Link(NamedTuple):
    path: str
    target: str


def device_id(passed: Passed) -> str:
    """In QEMU, whose identifiers have no colon."""
    return f"host-{passed.kind}-{passed.address.replace(':', '-')}"


def device(passed: Passed, port: str, path: str = "") -> Json:
    """For device_add. `port`: the bus of one that has a place; `path`: of a USB device's file."""
    if passed.kind == "usb":
        return {"driver": "usb-host", "id": device_id(passed), "bus": f"{_BUS}.0", "hostdevice": path}
    return {"driver": "vfio-pci", "id": device_id(passed), "bus": port, "sysfsdev": f"/{_place(passed)}"}


def controller(port: str) -> Json:
    return {"driver": "qemu-xhci", "id": _BUS, "bus": port}


def jail(passed: Sequence[Passed]) -> list[Node | Link]:
    """What its QEMU has of /dev and of /sys."""
    by_vfio = [one for one in passed if one.kind != "usb"]
    if not by_vfio:
        return []
    files = ["vfio", *map(str, sorted({one.group for one in by_vfio}))]
    made: list[Node | Link] = [Node(f"dev/vfio/{name}", f"/dev/vfio/{name}") for name in files]
    for one in by_vfio:
        made.append(Link(f"{_place(one)}/iommu_group", f"/sys/kernel/iommu_groups/{one.group}"))
        made.append(Link(f"{_place(one)}/subsystem", f"/sys/bus/{one.kind}"))
    return made


def locked(passed: Sequence[Passed], memory: int) -> int:
    """Bytes of memory that the kernel may have to keep in its place for a guest that has at most `memory`, which a
    device of VFIO reads and writes by itself; 0: none."""
    return memory + _BESIDE if any(one.kind != "usb" for one in passed) else 0


def _place(passed: Passed) -> str:
    return f"sys/bus/{passed.kind}/devices/{passed.address}"
