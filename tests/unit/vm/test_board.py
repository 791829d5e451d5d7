"""The command line of a whole machine: numbers and words of ours, and JSON."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest

from corten.vm import board
from corten.vm.board import Board, BoardDisk, BoardInterface, Layer, Sockets

QCOW2, BASE = Layer("qcow2", False), Layer("qcow2", True)
BOARD = Board(
    "/usr/bin/qemu-system-x86_64", "tcg", "11111111-2222-3333-4444-555555555555", 1 << 30, 2 << 30, 1, 2,
    disks=(
        BoardDisk("disk0", (Layer("raw", True), BASE, QCOW2), 0),
        BoardDisk("disk1", (Layer("raw", True),), 1, "ide", True, True),
    ),
    interfaces=(BoardInterface("02:42:ac:11:00:02", 2),),
)  # fmt: skip


def options(arguments: list[str], name: str) -> list[dict[str, object]]:
    return [json.loads(value) for option, value in pairwise(arguments) if option == name]


def test_each_file_is_a_descriptor() -> None:
    made = board.line(BOARD, Sockets(10, 11, 12), [20, 21, 22, 23], [30])
    assert made.descriptors == [10, 11, 12, 20, 21, 22, 23, 30]
    assert [value for option, value in pairwise(made.arguments) if option == "-add-fd"] == [
        "fd=6,set=1", "fd=7,set=2", "fd=8,set=3", "fd=9,set=4",
    ]  # fmt: skip
    nodes = options(made.arguments, "-blockdev")
    assert [node["file"]["filename"] for node in nodes] == [f"/dev/fdset/{n}" for n in (1, 2, 3, 4)]  # type: ignore[index]
    assert options(made.arguments, "-netdev")[0]["fd"] == "10"


def test_a_chain_is_ours_and_not_what_headers_say() -> None:
    nodes = options(board.line(BOARD, Sockets(3, 4, 5), [6, 7, 8, 9], [10]).arguments, "-blockdev")
    assert [(node["node-name"], node.get("backing", "-")) for node in nodes] == [
        ("disk0-0", "-"), ("disk0-1", "disk0-0"), ("disk0-2", "disk0-1"), ("disk1-0", "-"),
    ]  # fmt: skip
    assert [node["read-only"] for node in nodes] == [True, True, False, True]
    alone = BOARD._replace(disks=(BoardDisk("disk0", (QCOW2,), 0),))
    assert options(board.line(alone, Sockets(3, 4, 5), [6], [7]).arguments, "-blockdev")[0]["backing"] is None


def test_what_a_user_wrote_is_one_argument_or_json() -> None:
    hostile = "a,b=c -device evil\t$(x)"
    wanted = BOARD._replace(firmware="kernel", kernel_arguments=hostile)
    arguments = board.line(wanted, Sockets(3, 4, 5), [6, 7, 8, 9, 10], [11]).arguments
    assert [argument for argument in arguments if "evil" in argument] == [hostile]
    assert arguments[arguments.index(hostile) - 1] == "-append"
    assert "fd=6,set=1" not in arguments, "QEMU closes those of sets, and opens the kernel by its number"


def test_a_scsi_disk_and_a_paravirtual_screen() -> None:
    """The controller is in the disk's place, and is there before the disk."""
    wanted = BOARD._replace(disks=(BoardDisk("disk0", (QCOW2,), 5, "scsi"),), video="virtio")
    devices = options(board.line(wanted, Sockets(3, 4, 5), [6], [7]).arguments, "-device")
    assert devices[0] == {"driver": "virtio-vga", "addr": "1"}
    at = devices.index({"driver": "virtio-scsi-pci", "id": "scsi5", "bus": "port5"})
    disk = {"driver": "scsi-hd", "bus": "scsi5.0", "id": "disk5", "serial": "disk0", "drive": "disk5-0", "bootindex": 1}
    assert devices[at + 1] == disk
    assert not any("VGA" in str(device["driver"]) for device in devices)


def test_a_board_travels_as_json() -> None:
    assert board.decode(json.loads(json.dumps(BOARD._asdict()))) == BOARD


def test_the_line_for_a_person_has_paths() -> None:
    paths = ["/a,b/base.raw", "/b.qcow2", "/c.qcow2", "/cd.iso"]
    shown = board.shown(BOARD, paths, ["tap0"])
    assert [node["file"]["filename"] for node in options(shown, "-blockdev")] == paths  # type: ignore[index]
    assert not any("fdset" in argument or re.search(r"fd=\d", argument) for argument in shown)
    assert options(shown, "-netdev")[0]["ifname"] == "tap0"


@pytest.mark.parametrize(("firmware", "count"), [("bios", 4), ("uefi", 5), ("kernel", 5)])
def test_as_many_files_as_the_line_needs(firmware: str, count: int) -> None:
    assert len(board.files(BOARD._replace(firmware=firmware))) == count


def test_no_two_devices_have_one_port() -> None:
    devices = options(board.line(BOARD, Sockets(3, 4, 5), [6, 7, 8, 9], [10]).arguments, "-device")
    plugged = [device["bus"] for device in devices if str(device.get("bus", "")).startswith("port")]
    assert len(plugged) == len(set(plugged)) == 3, "a disk, an interface, and more memory"


def test_one_that_waits_for_a_state_does_not_begin_by_itself() -> None:
    """Until its daemon says so: the one that it comes from may still go on."""
    plain, saved = BOARD, BOARD._replace(incoming=True, paused=True)
    words = [board.line(one, Sockets(3, 4, 5), [6, 7, 8, 9], [10]).arguments for one in (plain, saved)]
    assert ["-S" in each for each in words] == ["-incoming" in each for each in words] == [False, True]


def test_its_ports() -> None:
    few = BOARD._replace(ports=8)
    for one in (few, BOARD):
        devices = options(board.line(one, Sockets(3, 4, 5), [6, 7, 8, 9], [10]).arguments, "-device")
        ports = [device["id"] for device in devices if device["driver"] == "pcie-root-port"]
        assert ports == [board.port(index) for index in range(one.ports + 1)]
        assert next(device for device in devices if device["driver"] == "virtio-mem-pci")["bus"] == ports[-1]


def test_secure_boot_and_a_tpm() -> None:
    wanted = BOARD._replace(firmware="uefi", secure_boot=True, tpm=True, disks=())
    made = board.line(wanted, Sockets(10, 11, 12, 13), [20], [30])
    assert made.descriptors == [10, 11, 12, 13, 20, 30]
    pairs = list(pairwise(made.arguments))
    assert ("-chardev", "socket,id=tpm,fd=6") in pairs and ("-add-fd", "fd=7,set=1") in pairs
    assert ("-global", "driver=cfi.pflash01,property=secure,value=on") in pairs
    assert ",smm=on" in made.arguments[made.arguments.index("-machine") + 1]
    assert options(made.arguments, "-blockdev")[0]["file"]["filename"] == board.SECURE_CODE  # type: ignore[index]
    assert {"driver": "tpm-crb", "tpmdev": "tpm"} in options(made.arguments, "-device")
    plain = board.line(BOARD, Sockets(3, 4, 5), [6, 7, 8, 9], [10]).arguments
    assert "-tpmdev" not in plain and "-global" not in plain
