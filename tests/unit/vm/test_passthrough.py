"""Devices of the host: what QEMU is asked for, and what its jail has; on no machine that has such devices."""

from __future__ import annotations

import json
from itertools import pairwise

from corten.vm import board, passthrough
from corten.vm.board import Board, BoardDisk, BoardInterface, Layer, Sockets
from corten.vm.passthrough import Link, Node, Passed

MDEV = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
CARD, AUDIO = Passed("pci", "0000:01:00.0", 2, 12), Passed("pci", "0000:01:00.1", 3, 12)
PART, MOUSE, STICK = Passed("mdev", MDEV, 4, 30), Passed("usb", "046d:c52b"), Passed("usb", "3.5")
BOARD = Board(
    "/usr/bin/qemu-system-x86_64", "kvm", "11111111-2222-3333-4444-555555555555", 1 << 30, 2 << 30, 1, 2,
    disks=(BoardDisk("disk0", (Layer("raw", False, True),), 0),),
    interfaces=(BoardInterface("02:42:ac:11:00:02", 1),),
    passed=(CARD, AUDIO, PART, MOUSE, STICK),
    usb=5,
)  # fmt: skip


def options(arguments: list[str], name: str) -> list[dict[str, object]]:
    return [json.loads(value) for option, value in pairwise(arguments) if option == name]


def test_the_whole_plan() -> None:
    made = board.line(BOARD, Sockets(10, 11, 12), [20, 21, 22], [30])
    assert made.descriptors == [10, 11, 12, 20, 21, 22, 30]
    assert [value for option, value in pairwise(made.arguments) if option == "-add-fd"] == [
        "fd=6,set=1", "fd=7,set=2,opaque=host-usb-046d-c52b", "fd=8,set=3,opaque=host-usb-3.5",
    ]  # fmt: skip
    (disk,) = options(made.arguments, "-blockdev")
    assert disk == {
        "driver": "raw", "node-name": "disk0-0", "read-only": False, "discard": "unmap",
        "file": {"driver": "host_device", "filename": "/dev/fdset/1", "locking": "off", "node-name": "disk0-0-file",
                 "read-only": False, "discard": "unmap"},
    }  # fmt: skip
    devices = options(made.arguments, "-device")
    ours = [device for device in devices if str(device["driver"]) in ("vfio-pci", "qemu-xhci", "usb-host")]
    assert ours == [
        {"driver": "qemu-xhci", "id": "usb", "bus": "port5"},
        {"driver": "vfio-pci", "id": "host-pci-0000-01-00.0", "bus": "port2",
         "sysfsdev": "/sys/bus/pci/devices/0000:01:00.0"},
        {"driver": "vfio-pci", "id": "host-pci-0000-01-00.1", "bus": "port3",
         "sysfsdev": "/sys/bus/pci/devices/0000:01:00.1"},
        {"driver": "vfio-pci", "id": f"host-mdev-{MDEV}", "bus": "port4", "sysfsdev": f"/sys/bus/mdev/devices/{MDEV}"},
        {"driver": "usb-host", "id": "host-usb-046d-c52b", "bus": "usb.0", "hostdevice": "/dev/fdset/2"},
        {"driver": "usb-host", "id": "host-usb-3.5", "bus": "usb.0", "hostdevice": "/dev/fdset/3"},
    ]  # fmt: skip
    plugged = [device["bus"] for device in devices if str(device.get("bus", "")).startswith("port")]
    assert len(plugged) == len(set(plugged)), "no two have one port"


def test_the_line_for_a_person_has_the_host_s_paths() -> None:
    shown = board.shown(BOARD, ["/dev/sdb", "/dev/bus/usb/003/004", "/dev/bus/usb/003/005"], ["tap0"])
    assert options(shown, "-blockdev")[0]["file"]["filename"] == "/dev/sdb"  # type: ignore[index]
    paths = [device.get("hostdevice") for device in options(shown, "-device") if device["driver"] == "usb-host"]
    assert paths == ["/dev/bus/usb/003/004", "/dev/bus/usb/003/005"]


def test_a_board_with_them_travels_as_json() -> None:
    assert board.decode(json.loads(json.dumps(BOARD._asdict()))) == BOARD


def test_the_jail() -> None:
    """A node for each group, once, and of sysfs the two links that QEMU reads."""
    assert passthrough.jail(BOARD.passed) == [
        Node("dev/vfio/vfio", "/dev/vfio/vfio"), Node("dev/vfio/12", "/dev/vfio/12"),
        Node("dev/vfio/30", "/dev/vfio/30"),
        Link("sys/bus/pci/devices/0000:01:00.0/iommu_group", "/sys/kernel/iommu_groups/12"),
        Link("sys/bus/pci/devices/0000:01:00.0/subsystem", "/sys/bus/pci"),
        Link("sys/bus/pci/devices/0000:01:00.1/iommu_group", "/sys/kernel/iommu_groups/12"),
        Link("sys/bus/pci/devices/0000:01:00.1/subsystem", "/sys/bus/pci"),
        Link(f"sys/bus/mdev/devices/{MDEV}/iommu_group", "/sys/kernel/iommu_groups/30"),
        Link(f"sys/bus/mdev/devices/{MDEV}/subsystem", "/sys/bus/mdev"),
    ]  # fmt: skip
    assert passthrough.jail([MOUSE, STICK]) == [], "those of USB are descriptors"


def test_memory_that_a_device_reads_and_writes_is_locked() -> None:
    assert passthrough.locked([CARD], 2 << 30) == 3 << 30
    assert passthrough.locked([MOUSE], 2 << 30) == passthrough.locked([], 2 << 30) == 0


def test_a_machine_without_any_has_no_more_than_before() -> None:
    plain = board.line(BOARD._replace(passed=(), usb=-1), Sockets(3, 4, 5), [6], [7]).arguments
    assert not [word for word in plain if "vfio" in word or "usb-host" in word or "xhci" in word]
