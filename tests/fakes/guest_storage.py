"""Disks of guests without file systems in them: `GuestImages` and `GuestDisks` for what only hands them on."""

from __future__ import annotations

import os
from pathlib import Path

from corten.errors import Invalid, NotFound
from corten.snapshots.contract import Snapshots
from corten.snapshots.guest_disks import LARGEST, SMALLEST


class FakeGuestImages:
    """Below `root`, of the trees of `trees`: a file of one block that names its tree."""

    def __init__(self, root: Path, trees: Snapshots) -> None:
        self._root = root
        self._trees = trees

    async def image(self, name: str) -> int:
        if not self._trees.tree_store.get(name).committed:
            raise NotFound(f"{name} is no layer: there is no image of it")
        path = self._root / name
        if not path.exists():
            self._root.mkdir(exist_ok=True)
            path.write_bytes(name.encode().ljust(4096, b"\0"))
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


class FakeGuestDisks:
    """Files of the right size, with nothing in them."""

    async def disk(self, directory: Path, size: int = 10 << 30) -> int:
        if not SMALLEST <= size <= LARGEST:
            raise Invalid(f"a disk of {size} bytes cannot be had: it has 16 MiB to 16 TiB")
        path = directory / "disk.ext4"
        new = not path.exists()
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if new:
            os.ftruncate(fd, -(-size // (1 << 20)) << 20)
        return fd
