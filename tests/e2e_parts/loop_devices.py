"""Loop devices of this machine, for tests of block devices."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def loop_device(backing: Path) -> Iterator[str]:
    """The path of one of eight MiB that begins with "host", with this file behind it. Skips where none can be made."""
    with backing.open("wb") as file:
        file.write(b"host")
        file.truncate(8 << 20)
    try:
        made = subprocess.run(["losetup", "-f", "--show", backing], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs losetup (Debian package mount)")
    if made.returncode:
        pytest.skip(f"needs loop devices: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def beginning(device: str) -> bytes:
    fd = os.open(device, os.O_RDONLY)
    try:
        return os.pread(fd, 16, 0)
    finally:
        os.close(fd)
