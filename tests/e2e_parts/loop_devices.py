"""Loop devices of this machine, for tests of block devices."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e_parts.patience import until


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


@contextmanager
def mounted(device: str, place: Path) -> Iterator[None]:
    """In a mount namespace of its own: copies of the host's mounts, which others make meanwhile, would keep the device
    when it is unmounted here."""
    script = 'mount "$0" "$1" && echo mounted && read line'
    command = ["unshare", "--mount", "sh", "-c", script, device, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
        assert holding.stdout is not None and holding.stdout.readline() == b"mounted\n"
        yield
    until(lambda: is_free(device))


def is_free(device: str) -> bool:
    """Nothing has it for itself alone."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return False
    return True


def beginning(device: str) -> bytes:
    fd = os.open(device, os.O_RDONLY)
    try:
        return os.pread(fd, 16, 0)
    finally:
        os.close(fd)
