"""Guests whose container has an image of layers (erofs) and a disk of its own (ext4)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from corten.vm.contract import GuestSection
from vm import machines

TAP = 0x4000  # IFF_VNET_HDR, which QEMU wants
_PLACE = "/run/corten/disks"
_PROGRAMS = ("mkfs.erofs", "mke2fs")
DISKS = (
    {"serial": "image", "type": "erofs", "options": [], "read_only": True, "directories": []},
    {
        "serial": "own",
        "type": "ext4",
        "options": [],
        "read_only": False,
        "directories": ["upper", "work"],
        "like": "image",
    },
)
LAYERS = (f"lowerdir={_PLACE}/image", f"upperdir={_PLACE}/own/upper", f"workdir={_PLACE}/own/work")


def missing() -> str:
    """As a reason to skip."""
    absent = [program for program in _PROGRAMS if not shutil.which(program)]
    return machines.missing() or (f"needs {', '.join(absent)}" if absent else "")


def section() -> GuestSection:
    shape = machines.shape()
    return GuestSection(shape, True, shape.memory, 1, (("image", True), ("own", False)))


def disks(directory: Path, tree: Path) -> tuple[int, int]:
    """Descriptors of both, made in that directory."""
    image, disk = directory / "image.erofs", directory / "disk.ext4"
    subprocess.run(["mkfs.erofs", "--quiet", image, tree], check=True)
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", disk], check=True)
    return os.open(image, os.O_RDONLY | os.O_CLOEXEC), os.open(disk, os.O_RDWR | os.O_CLOEXEC)
