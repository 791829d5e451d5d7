"""Devices of this host that a machine can have for itself: what sysfs says of them, and why one cannot be had.

    found = find(Path("/"), parse("pci", "01:00.0"))     # Found(pci=0000:01:00.0, group 12)

Nothing is changed here: a driver of the host's is not taken from its device, which may be the host's own disk or
screen; the sentence says the command that does it. `root` is where /sys and /dev are (the kernel's
Documentation/ABI/testing/sysfs-bus-pci, sysfs-bus-mdev, sysfs-bus-usb, sysfs-kernel-iommu_groups).
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import NamedTuple

from corten.errors import Conflict, Invalid, NotFound, Unsupported
from corten.machines.records import HostDevice
from corten.vm.passthrough import Kind

_PCI = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[01][0-9a-f]\.[0-7])")
_MDEV = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_USB = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
_USB_PLACE = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})", re.ASCII)
_BRIDGE, _HUB = "0x0604", "09"  # classes: of PCI, with any interface; of USB
_VFIO = re.compile(r".*vfio[-_]pci")  # vfio-pci, and what is made of it for one kind of device (mlx5_vfio_pci)
_HARMLESS = ("pci-stub", "pcieport")  # drivers that leave DMA alone: their devices may be in the group of another's
_FORMS = "pci=0000:01:00.0, mdev=UUID, usb=VENDOR:PRODUCT or usb=BUS.NUMBER"


class Found(NamedTuple):
    """A device as it is there now. `group`: of the IOMMU, -1 for USB; `path`: of a USB device's file, "" for others."""

    kind: Kind
    address: str
    group: int = -1
    path: str = ""


def parse(kind: str, address: str) -> HostDevice:
    """With the address as the kernel writes it. Invalid."""
    text = address.lower()
    match kind:
        case "pci" if found := _PCI.fullmatch(text):
            text = f"{found[1] or '0000'}:{found[2]}"
        case "usb" if found := _USB_PLACE.fullmatch(text):
            text = f"{int(found[1])}.{int(found[2])}"
        case "mdev" if _MDEV.fullmatch(text):
            pass
        case "usb" if _USB.fullmatch(text):
            pass
        case _:
            raise Invalid(f'no device of a host: "{kind}={address}"; there are {_FORMS}')
    return HostDevice(kind, text)


def find(root: Path, device: HostDevice) -> Found:
    """NotFound, Unsupported for what the host lacks, Conflict for what it has done with the device, Invalid for one
    that no machine can have."""
    match device.kind:
        case "pci":
            return _pci(root, device.address)
        case "mdev":
            return _mdev(root, device.address)
        case "usb":
            return _usb(root, device.address)


def group(root: Path, device: HostDevice) -> int:
    """Of the IOMMU; -1 for one that is in none, or is not there."""
    try:
        return int(os.path.basename(os.readlink(root / f"sys/bus/{device.kind}/devices/{device.address}/iommu_group")))
    except (OSError, ValueError):
        return -1


# --------------------------------------------------------------------------------------------------------------- PCI


def _pci(root: Path, address: str) -> Found:
    place = root / "sys/bus/pci/devices" / address
    if not place.is_dir():
        raise NotFound(f"there is no PCI device {address} on this host")
    if _text(place / "class").startswith(_BRIDGE):
        raise Invalid(f"PCI device {address} is a bridge, which is not given to a machine, but what is behind it")
    number = _group(root, HostDevice("pci", address), f"PCI device {address}")
    _check_functions(place, address)
    if not _has_vfio(place):
        held = f"which the host's driver {driver} has" if (driver := _driver(place)) else "which has no driver"
        raise Conflict(f"PCI device {address}, {held}, is not bound to vfio-pci: {_binding(address)}")
    members = root / "sys/kernel/iommu_groups" / str(number) / "devices"
    for member in sorted(os.listdir(members)):
        driver = _driver(root / "sys/bus/pci/devices" / member)
        if driver and not _VFIO.fullmatch(driver) and driver not in _HARMLESS:
            raise Conflict(f"PCI device {address} is in IOMMU group {number} together with {member}, which the host's "
                           f"driver {driver} has: {_binding(member)}")  # fmt: skip
    _check_files(root, number)
    return Found("pci", address, number)


def _check_functions(place: Path, address: str) -> None:
    """SR-IOV. The kernel gives a physical function of VFIO and its virtual ones to those alone who show each other a
    token (vf_token), which QEMU cannot."""
    if (count := _text(place / "sriov_numvfs")) not in ("", "0"):
        first = os.path.basename(os.path.realpath(place / "virtfn0"))
        raise Conflict(f"PCI device {address} has {count} virtual functions: give the machine one of these ({first}),"
                       f" or remove them: echo 0 >/sys/bus/pci/devices/{address}/sriov_numvfs")  # fmt: skip
    physical = place / "physfn"
    if physical.exists() and _has_vfio(physical):
        owner = os.path.basename(os.path.realpath(physical))
        raise Conflict(f"PCI device {address} is a virtual function of {owner}, which is bound to {_driver(physical)}: "
                       "that stays with the host's driver")  # fmt: skip


def _binding(address: str) -> str:
    return f"driverctl set-override {address} vfio-pci"


def _driver(place: Path) -> str:
    link = place / "driver"
    return os.path.basename(os.path.realpath(link)) if link.exists() else ""


def _has_vfio(place: Path) -> bool:
    return bool(_VFIO.fullmatch(_driver(place)))


# -------------------------------------------------------------------------------------------------------------- VFIO


def _mdev(root: Path, address: str) -> Found:
    place = root / "sys/bus/mdev/devices" / address
    if not place.is_dir():
        raise NotFound(f"there is no mediated device {address} on this host: its UUID is written to the file create of"
                       " a type below /sys/class/mdev_bus")  # fmt: skip
    if (api := _text(place / "mdev_type/device_api")) != "vfio-pci":
        raise Invalid(f"mediated device {address} is a device of {api or 'no kind'}, and not of vfio-pci")
    number = _group(root, HostDevice("mdev", address), f"mediated device {address}")
    _check_files(root, number)
    return Found("mdev", address, number)


def _group(root: Path, device: HostDevice, what: str) -> int:
    """Unsupported without an IOMMU."""
    if (number := group(root, device)) >= 0:
        return number
    try:
        has_others = bool(os.listdir(root / "sys/kernel/iommu_groups"))
    except OSError:
        has_others = False
    if has_others:
        raise Unsupported(f"{what} is in no IOMMU group, and cannot be kept from the host's memory")
    raise Unsupported(f"{what} cannot be given to a machine: this host has no IOMMU, or it is off (VT-d or AMD-Vi in"
                      " the firmware, and intel_iommu=on for the kernel)")  # fmt: skip


def _check_files(root: Path, group: int) -> None:
    for path in ("dev/vfio/vfio", f"dev/vfio/{group}"):
        if not (root / path).exists():
            raise Unsupported(f"this host's kernel has no VFIO (/{path} does not exist; try modprobe vfio-pci)")


# --------------------------------------------------------------------------------------------------------------- USB


class _Usb(NamedTuple):
    place: Path
    bus: int
    number: int


def _usb(root: Path, address: str) -> Found:
    found = [one for place in _usb_places(root) if (one := _seen(place, address)) is not None]
    if not found:
        raise NotFound(f"there is no USB device {address} on this host")
    if len(found) > 1:
        places = ", ".join(f"usb={one.bus}.{one.number}" for one in found)
        raise Conflict(f"this host has {len(found)} USB devices {address}: say which one ({places})")
    (one,) = found
    if _text(one.place / "bDeviceClass") == _HUB:
        raise Invalid(f"USB device {address} is a hub, which is not given to a machine, but what is behind it")
    for name in _blocks(one.place):
        if in_use(root / "dev" / name):
            raise Conflict(f"USB device {address} has disk {name}, which this host has mounted or something on top: see"
                           " lsblk")  # fmt: skip
    return Found("usb", address, path=f"/dev/bus/usb/{one.bus:03}/{one.number:03}")


def _usb_places(root: Path) -> list[Path]:
    """Of devices, which are called 1-2.3 or usb1; their interfaces have a colon in their names."""
    try:
        names = sorted(os.listdir(root / "sys/bus/usb/devices"))
    except OSError:
        return []
    return [root / "sys/bus/usb/devices" / name for name in names if ":" not in name]


def _seen(place: Path, address: str) -> _Usb | None:
    """One that is that device; None for another, and for one that goes just now."""
    try:
        one = _Usb(place, int(_text(place / "busnum")), int(_text(place / "devnum")))
    except ValueError:
        return None
    names = (f"{one.bus}.{one.number}", f"{_text(place / 'idVendor')}:{_text(place / 'idProduct')}")
    return one if address in names else None


def _blocks(place: Path) -> list[str]:
    """Names of the disks that it is for the host."""
    found: list[str] = []
    for directory, names, _ in os.walk(os.path.realpath(place)):
        if os.path.basename(directory) == "block":
            found += names
            names.clear()
    return sorted(found)


def in_use(path: Path) -> bool:
    """Whether the host has a disk mounted, or a part of it, or something else on top (open(2), O_EXCL)."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _text(path: Path) -> str:
    """Of an attribute; "" for one that is not there."""
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""
